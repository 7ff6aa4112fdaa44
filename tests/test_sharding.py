"""Arrays on several devices: nothing of A is sent, memory falls, the values and the derivatives stay."""

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from profiles import few

SCRIPT = Path(__file__).with_name("sharded.py")


def start(devices, *arguments):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def finish(process):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err[-4000:]
    return out


@pytest.mark.parametrize(
    ("checks", "devices"), [("layouts", 8), ("memory", 8), ("calls", 4), ("shard_map", 4), ("products", 4)]
)
def test_on_several_devices(checks, devices):
    if checks == "products" and tuple(map(int, version("jax").split(".")[:2])) < (0, 9):
        pytest.skip("jax 0.8 has no vmap of a psum inside shard_map")
    finish(start(devices, checks))


@pytest.mark.parametrize("count", few([2], [4]))
def test_in_several_processes(count):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    members = [start(1, "cluster", address, count, index) for index in range(count)]
    try:
        bits = [finish(member).split("bits ")[1] for member in members]
    finally:
        for member in members:
            member.kill()
    assert len(set(bits)) == 1
