"""State in a bucket of S3, Google Cloud Storage or Azure, through obstore.

Owns: the objects below one prefix, and what a failing store becomes as an error. Promises: a conditional
write that the server refuses changes nothing; one that went through although its answer was lost counts as
done; a server that is not there is reported within seconds. Never: puts a credential into a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore import exceptions as refused

from tickover.engine.stores import Blob, Moved
from tickover.errors import Exit, TickoverError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_CREDENTIALS: Final = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "UserNotFound",
    "AuthorizationHeaderMalformed",
    "CredentialsNotLoaded",
    "AuthenticationFailed",
    "169.254.",
    "metadata.google.internal",
)
_NO_CONDITIONS: Final = ("NotImplemented", "501 Not Implemented")


class BucketStore:
    """Objects of one bucket. where: the place as messages and the spool folder name it."""

    def __init__(self, store: ObjectStore, url: str, where: str, bucket: str) -> None:
        self.url = url
        self.where = where
        self._store = store
        self._bucket = bucket

    def __repr__(self) -> str:
        return f"BucketStore({self.where})"

    def place(self, key: str) -> str:
        return f"{self.where.rstrip('/')}/{key}"

    def read(self, key: str) -> Blob | None:
        with self._errors(key, "read"):
            try:
                got = obstore.get(self._store, key)
            except (refused.NotFoundError, FileNotFoundError) as error:
                self._raise_without_bucket(error, key, "read")
                return None
            return Blob(bytes(got.bytes()), _tag(got.meta))

    def newest(self, keys: tuple[str, ...]) -> str | None:
        """By a listing: the answer to a HEAD does not tell a missing object from a missing bucket."""
        folders = {key.rpartition("/")[0] for key in keys}
        found: dict[str, Any] = {}
        for folder in folders:
            with self._errors(folder, "read"):
                pages = obstore.list(self._store, prefix=folder)
                found |= {i["path"]: i["last_modified"] for page in pages for i in page if i["path"] in keys}
        return max(found, key=lambda key: found[key], default=None)

    def write(self, key: str, data: bytes) -> str:
        with self._errors(key, "written"):
            return self._put(key, data, "overwrite")

    def create(self, key: str, data: bytes) -> str:
        return self._conditional(key, data, "create", lambda present: present is None)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        # Looked at first: a server that ignores the condition must not overwrite what somebody else wrote.
        present = self.read(key)
        if present is None or present.etag != etag:
            raise Moved(key)
        return self._conditional(
            key, data, _mode(etag), lambda found: found is not None and found.etag == etag
        )

    def _conditional(self, key: str, data: bytes, mode: Any, holds: Callable[[Blob | None], bool]) -> str:
        with self._errors(key, "written"):
            try:
                return self._put(key, data, mode)
            except (refused.AlreadyExistsError, refused.PreconditionError, FileExistsError):
                present = self.read(key)
                if present is not None and present.data == data:
                    return present.etag  # our own write, whose answer was lost on the way
                raise Moved(key) from None
            except (refused.NotFoundError, FileNotFoundError) as error:
                self._raise_without_bucket(error, key, "written")
                raise Moved(key) from None  # what was to be replaced is gone
            except (refused.NotSupportedError, refused.GenericError, NotImplementedError) as error:
                # The server takes no conditions: the lock objects and a look before the write must do.
                if not isinstance(error, (refused.NotSupportedError, NotImplementedError)) and not any(
                    word in str(error) for word in _NO_CONDITIONS
                ):
                    raise
                if not holds(self.read(key)):
                    raise Moved(key) from None
                return self._put(key, data, "overwrite")

    def _put(self, key: str, data: bytes, mode: Any) -> str:
        put = obstore.put(self._store, key, data, mode=mode, use_multipart=False)
        return _tag(put)

    def keep(self, key: str, backup: str) -> None:
        if (present := self.read(key)) is not None:
            self.write(backup, present.data)

    def list(self, prefix: str) -> list[str]:
        with self._errors(prefix, "read"):
            pages = obstore.list(self._store, prefix=prefix)
            return sorted(str(item["path"]) for page in pages for item in page)

    def delete(self, key: str) -> bool:
        with self._errors(key, "removed"):
            try:
                obstore.head(self._store, key)
            except (refused.NotFoundError, FileNotFoundError):
                return False
            obstore.delete(self._store, key)
            return True

    def delete_all(self, prefix: str) -> None:
        keys = self.list(prefix)
        with self._errors(prefix, "removed"):
            if keys:
                obstore.delete(self._store, keys)

    # --- what goes wrong -----------------------------------------------------------------------------

    def _raise_without_bucket(self, error: Exception, key: str, doing: str) -> None:
        """Raises if it is more than the object that could not be found."""
        found = _CODE.search(str(error))
        # Something that is no S3 server says "not found" too, and must not pass for an empty state.
        is_other = found[1] != "NoSuchKey" if found else self.where.startswith("s3://")
        if is_other or any(word in str(error) for word in _NO_BUCKET):
            raise self._explained(str(error), key, doing) from None

    @contextmanager
    def _errors(self, key: str, doing: str) -> Iterator[None]:
        try:
            yield
        except (refused.BaseError, OSError, NotImplementedError) as error:
            # Without the cause: the library's text holds headers and whole answers of the server.
            raise self._explained(f"{type(error).__name__}: {error}", key, doing) from None

    def _explained(self, text: str, key: str, doing: str) -> TickoverError:
        found = _CODE.search(text)
        said = f" The server says {found[1]}." if found else ""
        if any(word in text for word in _NO_BUCKET):
            return TickoverError(
                "bucket-missing",
                "Bucket does not exist",
                f"There is no bucket {self._bucket!r} at {self.where}; tickover makes none.",
                address=self.where,
                hint=_MAKE.get(self.where.partition("://")[0], ""),
                exit_code=Exit.CONFIGURATION,
            )
        if any(word in text for word in _CREDENTIALS) or text.startswith(
            ("PermissionDenied", "Unauthenticated", "PermissionError")
        ):
            return TickoverError(
                "bucket-credentials",
                "Bucket refuses the credentials",
                f"{self.place(key)} could not be {doing} with the credentials of this environment.{said}",
                address=self.where,
                hint=_CREDENTIAL_HINT.get(self.where.partition("://")[0], ""),
                exit_code=Exit.AUTHENTICATION,
            )
        if any(word in text for word in _UNREACHABLE):
            return TickoverError(
                "bucket-unreachable",
                "Object store cannot be reached",
                f"{self.place(key)} could not be {doing}: the server does not answer. What an operation "
                "had done until now is in its journal on this machine; the next one brings it in.",
                address=self.where,
                hint="Check endpoint, region and disableSSL in the state's URL, and the network.",
                retry_after_seconds=10.0,
            )
        return TickoverError(
            "bucket-io",
            f"State cannot be {doing}",
            f"{self.place(key)} could not be {doing}.{said or ' ' + _first_words(text)}",
            address=self.where,
        )


_UNREACHABLE: Final = (
    "error sending request", "Connect", "onnection refused", "timed out", "dns error", "operation timed",
    "503", "502", "504",
)  # fmt: skip
_MAKE: Final = {
    "s3": "aws s3 mb s3://BUCKET",
    "gs": "gcloud storage buckets create gs://BUCKET",
    "azblob": "az storage container create --name CONTAINER",
}
_CREDENTIAL_HINT: Final = {
    "s3": "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…",
    "gs": "export GOOGLE_APPLICATION_CREDENTIALS=…",
    "azblob": "export AZURE_STORAGE_ACCOUNT=… AZURE_STORAGE_KEY=…",
}


def _tag(meta: Mapping[str, Any]) -> str:
    """S3 and Azure go by the entity's tag, Google by the version."""
    version = meta.get("version")
    return (meta.get("e_tag") or "") + (f"\n{version}" if version else "")


def _mode(tag: str) -> dict[str, str]:
    etag, _, version = tag.partition("\n")
    return {"e_tag": etag} | ({"version": version} if version else {})


def _first_words(text: str) -> str:
    """The head of an unknown failure: what the library says before it repeats request and answer."""
    return text.partition("\n")[0].partition("<?xml")[0][:200].rstrip(" :,{")
