"""The smallest client of the Debug Adapter Protocol: what an editor says to debugpy's adapter, through its pipes."""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE = 60.0  # seconds to wait for any one answer
Message = dict[str, Any]


class Editor:
    """Debugs a script as an editor does.

    https://microsoft.github.io/debug-adapter-protocol/specification
    """

    def __init__(self, script: Path, environment: dict[str, str]) -> None:
        self.adapter = subprocess.Popen([sys.executable, "-m", "debugpy.adapter"], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.messages: queue.Queue[Message] = queue.Queue()
        self.events: list[Message] = []  # received while waiting for something else
        self.number = 0
        threading.Thread(target=self._receive, daemon=True).start()
        self.request("initialize", adapterID="debugpy", linesStartAt1=True, columnsStartAt1=True, pathFormat="path")
        self._send("launch", program=str(script), python=[sys.executable], console="internalConsole", justMyCode=False,
                   env={"PYTHONPATH": environment.get("PYTHONPATH", "")}, cwd=os.getcwd())
        self.event("initialized")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.request("disconnect", terminateDebuggee=True)  # ends the script, but not the adapter
        self.adapter.kill()
        self.adapter.wait()

    def request(self, command: str, **arguments: Any) -> Message:
        """The body of the answer to a request."""
        number = self._send(command, **arguments)
        while (message := self.messages.get(timeout=PATIENCE)).get("request_seq") != number:
            self.events.append(message)
        assert message["success"], message.get("message")
        body: Message = message.get("body", {})
        return body

    def event(self, name: str) -> Message:
        """The body of the next event of this name."""
        while not (found := [m for m in self.events if m.get("event") == name]):
            self.events.append(self.messages.get(timeout=PATIENCE))
        self.events.remove(found[0])
        body: Message = found[0].get("body", {})
        return body

    def frames(self) -> list[Message]:
        """The stack at the next stop, the innermost frame first."""
        self.thread = self.event("stopped")["threadId"]
        frames: list[Message] = self.request("stackTrace", threadId=self.thread)["stackFrames"]
        return frames

    def evaluate(self, expression: str, frame: Message) -> str:
        """What the editor shows for an expression in a frame."""
        return str(self.request("evaluate", expression=expression, frameId=frame["id"], context="watch")["result"])

    def variables(self, frame: Message) -> dict[str, str]:
        """The local variables that the editor lists."""
        scopes = self.request("scopes", frameId=frame["id"])["scopes"]
        listed = self.request("variables", variablesReference=scopes[0]["variablesReference"])["variables"]
        return {variable["name"]: variable["value"] for variable in listed}

    def _send(self, command: str, **arguments: Any) -> int:
        self.number += 1
        request = {"seq": self.number, "type": "request", "command": command, "arguments": arguments}
        message = json.dumps(request).encode()
        assert self.adapter.stdin is not None
        self.adapter.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(message), message))
        self.adapter.stdin.flush()
        return self.number

    def _receive(self) -> None:
        pipe = self.adapter.stdout
        assert pipe is not None
        while header := pipe.readline():
            pipe.readline()
            self.messages.put(json.loads(pipe.read(int(header.split(b":")[1]))))
