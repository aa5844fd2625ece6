"""A controller that accepts switches and says that everything is well (or what the file FAKE_STATUS says)."""

import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


with open(os.environ["FTMB_DEPLOYMENT"], encoding="utf-8") as file:
    DEPLOYMENT = json.load(file)


def status():
    state = os.environ.get("FAKE_STATE", "protected")
    groups = [{"name": name, "function": group["function"], "epoch": 1, "state": state, "master": group["pool"][0],
               "input_logger": group["input_logger"], "output_logger": group["output_logger"],
               "store": group["store"], "spares": group["pool"][1:2], "failovers": []}
              for name, group in DEPLOYMENT["groups"].items()]
    return {"groups": groups, "controller": {"alive": True, "apps": sys.argv[9:]}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, status())

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(DEPLOYMENT["key_file"], encoding="ascii") as file:
            if self.headers["X-FTMB-Key"] != file.read():
                self.answer(401, {"error": "the key is wrong"})
                return
        group = self.path.split("/")[3]
        if group not in DEPLOYMENT["groups"]:
            self.answer(404, {"error": f"there is no group {group!r}"})
        elif asked["reload"]:
            self.answer(503, {"error": "it does not load"})
        else:
            self.answer(200, {"group": group, "master": asked["to"], "failover": {"total_ms": 7.5}})

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if os.environ.get("FAKE_CRASH"):
    sys.exit("ImportError: this is what the log says")
switches = socket.create_server(("127.0.0.1", int(option("--ofp-tcp-listen-port"))))
HTTPServer(("127.0.0.1", int(option("--wsapi-port"))), Handler).serve_forever()
