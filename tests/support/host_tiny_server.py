"""A small model server for tests: enough of OpenAI's API, and ways to be slow or to die.

Run by path with any Python: ``python host_tiny_server.py --port N [--mute] [--slow-start S] …``.
GET /health, GET /v1/models, POST /v1/chat/completions, GET /slow?seconds=S, GET /stream?count=N,
GET /crash?code=N, GET /pid, GET /env?name=N, GET /file?path=P, GET /write?path=P, GET /child.
POST /initialize and GET /pre-stop answer what --initialize and --pre-stop say; one that is --unhealthy gets
healthy by its initializer.
With --vram FOLDER it writes down there what it has on its card, and fails as an engine does on a full one.
With --sleeps also vLLM's GET /is_sleeping, POST /sleep, POST /wake_up and GET /metrics; asleep, a chat and a
hook wait.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Vram:
    """What this process has on its card, in a file that others read."""

    def __init__(self, given):
        self.folder, self.total = given.vram, given.vram_total
        self.awake, self.asleep = given.vram_bytes, given.residue_bytes
        self.cards = os.environ["CUDA_VISIBLE_DEVICES"]

    def others(self):
        found = 0
        for name in os.listdir(self.folder):
            if name.endswith(".json") and name != f"{os.getpid()}.json" and is_alive(name[:-5]):
                with open(os.path.join(self.folder, name)) as file:
                    told = json.load(file)
                found += told["used"] if told["cards"] == self.cards else 0
        return found

    def take(self, asleep):
        """Whether there was room."""
        used = self.asleep if asleep else self.awake
        if self.others() + used > self.total:
            print(f"CUDA out of memory: {used} bytes beside {self.others()}", flush=True)
            return False
        draft = os.path.join(self.folder, f"{os.getpid()}.new")
        with open(draft, "w") as file:
            json.dump({"cards": self.cards, "used": used}, file)
        os.replace(draft, os.path.join(self.folder, f"{os.getpid()}.json"))
        return True


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        action = self.path.partition("?")[0]
        if self.server.sleeps and action in ("/sleep", "/wake_up"):
            print(f"told to {action[1:]}", flush=True)
            asleep = action == "/sleep"
            time.sleep(self.server.step_seconds)
            if asleep:
                self.server.has_weights = "level=2" not in self.path
            elif self.path.endswith("?tags=weights"):  # the rest is to come
                self.answer({})
                return
            if self.server.vram is not None and not self.server.vram.take(asleep):
                self.answer({"error": "CUDA Error: out of memory"}, 500)
                return
            (self.server.awake.clear if asleep else self.server.awake.set)()
            self.answer({})
        elif self.path == "/initialize":
            self.called_as_hook("initialize", self.server.initialize)
        elif self.server.sleeps and action in ("/collective_rpc", "/reset_prefix_cache"):
            print(f"told to {action[1:]}", flush=True)
            if action == "/collective_rpc":
                self.server.has_weights = json.loads(body) == {"method": "reload_weights"}
            self.answer({})
        elif self.path == "/v1/chat/completions":
            self.server.awake.wait()
            self.server.chats += 1
            word = "hello" if self.server.has_weights else "gibberish"
            given = json.loads(body or b"{}")
            if given.get("stream"):
                self.stream_chat(given.get("max_tokens", 3))
                return
            self.answer({"choices": [{"message": {"role": "assistant", "content": word}}]})
        else:
            self.answer({"path": self.path, "bytes": len(body)})

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/pre-stop":
            return self.called_as_hook("pre-stop", self.server.pre_stop)
        if url.path == "/stream":
            return self.stream(int(query.get("count", "3")))
        if url.path == "/crash":
            print("crashing as asked", flush=True)
            os._exit(int(query.get("code", "9")))
        if url.path == "/metrics" and self.server.sleeps:
            return self.answer_metrics()
        if url.path == "/slow":
            time.sleep(float(query.get("seconds", "1")))
        return self.answer(*self.look_up(url.path, query))

    def called_as_hook(self, name, status):
        """Tell it in the log; asleep it waits, as any other work does. Status 0: no answer at all."""
        self.server.awake.wait()
        told = {key.lower(): value for key, value in self.headers.items() if key.lower().startswith("x-fc-")}
        print(f"{name} {json.dumps(told, sort_keys=True)}", flush=True)
        time.sleep(600 if status == 0 else 0)
        if name == "initialize" and status == 200:
            self.server.is_healthy = True
        return self.answer({"hook": name}, status)

    def answer_metrics(self):
        names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
        body = "".join(f'{name}{{engine="0"}} {self.server.busy}\n' for name in names).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def look_up(self, path, query):
        if path == "/is_sleeping" and self.server.sleeps:
            return ({"is_sleeping": not self.server.awake.is_set()},)
        if path == "/busy":
            self.server.busy = float(query["requests"])
            return ({"busy": self.server.busy},)
        if path in ("/health", "/slow"):
            return ({"ok": True},) if self.server.is_healthy else ({"ok": False}, 503)
        if path == "/v1/models":
            return ({"data": [{"id": "tiny"}]},) if self.server.has_models else ({}, 404)
        if path == "/chats":
            return ({"chats": self.server.chats},)
        if path == "/pid":
            return ({"pid": os.getpid(), "session": os.getsid(0)},)
        if path == "/env":
            return ({"value": os.environ.get(query["name"])},)
        if path == "/argv":
            return ({"argv": sys.argv},)
        if path == "/child":
            child = subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
            )
            return ({"pid": child.pid},)
        if path == "/file":
            with open(query["path"]) as file:
                return ({"text": file.read()},)
        if path == "/write":
            try:
                with open(query["path"], "w") as file:
                    file.write("x")
            except OSError as error:
                return ({"errno": error.errno},)
            return ({"errno": 0},)
        return ({"error": "no such path"}, 404)

    def stream_chat(self, count):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(count):
            drawn = {"token": f"t{number}", "logprob": -0.5}
            chunk = {"choices": [{"delta": {"content": drawn["token"]}, "logprobs": {"content": [drawn]}}]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def stream(self, count):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(count):
            self.wfile.write(f"data: {number}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.02)
        self.close_connection = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--exit-code", type=int)
    parser.add_argument("--exit-once", help="exit with code 5 unless this file exists; make it first")
    parser.add_argument("--slow-start", type=float, default=0.0)
    parser.add_argument("--unhealthy", action="store_true")
    parser.add_argument("--initialize", type=int, default=404, help="what POST /initialize answers")
    parser.add_argument("--pre-stop", type=int, default=404)
    parser.add_argument("--says", help="a line for the log before it exits")
    parser.add_argument("--no-models", action="store_true")
    parser.add_argument("--mute", action="store_true", help="never listen")
    parser.add_argument("--sleeps", action="store_true")
    parser.add_argument("--step-seconds", type=float, default=0.0, help="how long a sleep or a wake takes")
    parser.add_argument("--vram")
    for name in ("--vram-bytes", "--residue-bytes", "--vram-total"):
        parser.add_argument(name, type=int, default=0)
    parser.add_argument("--words", nargs="*")
    given = parser.parse_args()
    print(f"tiny server, port {given.port}", flush=True)
    if given.says:
        print(given.says, flush=True)
    if given.exit_code is not None:
        print("this is the last line before the end", flush=True)
        sys.exit(given.exit_code)
    if given.exit_once and not os.path.exists(given.exit_once):
        open(given.exit_once, "w").close()
        sys.exit(5)
    if given.mute:
        time.sleep(600)
    time.sleep(given.slow_start)
    vram = Vram(given) if given.vram else None
    if vram is not None and not vram.take(False):
        sys.exit("torch.OutOfMemoryError: CUDA out of memory")
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.daemon_threads = True
    server.chats = 0
    server.step_seconds = given.step_seconds
    server.initialize, server.pre_stop = given.initialize, given.pre_stop
    server.busy, server.sleeps, server.awake = 0.0, given.sleeps, threading.Event()
    server.awake.set()
    server.vram, server.has_weights = vram, True
    server.is_healthy = not given.unhealthy
    server.has_models = not given.no_models
    server.serve_forever()


if __name__ == "__main__":
    main()
