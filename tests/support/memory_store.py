"""A store in memory, with what real ones do wrong: no conditions, lost answers, outages."""

from __future__ import annotations

from tickover.engine.stores import Blob, Moved
from tickover.errors import TickoverError


class MemoryStore:
    """objects: content by key. down: every call fails. lagging: keys that listings do not show yet."""

    url = "mem://bucket"

    def __init__(self):
        self.objects = {}
        self.down = False
        self.lagging = set()
        self.writes = []
        self.before_write = None
        self._tag = 0

    def place(self, key):
        return f"mem://bucket/{key}"

    def _up(self):
        if self.down:
            raise TickoverError("bucket-unreachable", "Object store cannot be reached")

    def read(self, key):
        self._up()
        return self.objects.get(key)

    def newest(self, keys):
        self._up()
        found = [key for key in keys if key in self.objects]
        return max(found, key=lambda key: int(self.objects[key].etag), default=None)

    def write(self, key, data):
        self._up()
        if self.before_write is not None:
            action, self.before_write = self.before_write, None
            action(key)
        self._tag += 1
        self.objects[key] = Blob(bytes(data), str(self._tag))
        self.writes.append(key)
        return str(self._tag)

    def create(self, key, data):
        self._up()
        if key in self.objects:
            raise Moved(key)
        return self.write(key, data)

    def replace(self, key, data, etag):
        self._up()
        if key not in self.objects or self.objects[key].etag != etag:
            raise Moved(key)
        return self.write(key, data)

    def keep(self, key, backup):
        if key in self.objects:
            self.write(backup, self.objects[key].data)

    def list(self, prefix):
        self._up()
        return sorted(k for k in self.objects if k.startswith(f"{prefix}/") and k not in self.lagging)

    def delete(self, key):
        self._up()
        return self.objects.pop(key, None) is not None

    def delete_all(self, prefix):
        for key in self.list(prefix):
            del self.objects[key]
