"""Parsing of responses to clients."""

import json


def status(data: bytes) -> int:
    return int(data.split(b" ", 2)[1])


def body(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]


def code(data: bytes) -> str:
    return json.loads(body(data))["code"]
