"""A process that was armed ends with its parent, whatever ended that one; its grandchildren arm themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests import tiny

ARMED = (
    "import time; from facet.lifeline import die_with_parent; die_with_parent(); print('on', flush=True); "
    "time.sleep(60)"
)
MIDDLE = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {ARMED!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
# A shell that stays beside its one command, as Debian's does; bash would become the command.
STARTER = f"""
import subprocess, sys
command = ["sh", "-c", sys.executable + ' -c "' + {ARMED!r} + '"; true']
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
    shell.stdout.readline()
    print(shell.pid, flush=True)
"""
HEAD = f"""
import os, subprocess, sys
command = [sys.executable, "-m", "facet.lifeline", str(os.getpid()), sys.executable, "-c", {MIDDLE!r}]
child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
child.wait()
"""


def gone(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_whole_line_ends_with_its_head(how):
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], env=tiny.child_environment(), stdout=subprocess.PIPE, text=True
    )
    with head:
        line = [int(word) for word in head.stdout.readline().split()]
        assert len(line) == 2
        assert not any(gone(process) for process in line)
        head.send_signal(how)
        head.wait()
    deadline = time.monotonic() + 5
    while not all(gone(process) for process in line) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(gone(process) for process in line)


def test_a_step_ends_with_who_started_its_shell():
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], env=tiny.child_environment(), stdout=subprocess.PIPE, text=True
    )
    with starter:
        shell = psutil.Process(int(starter.stdout.readline()))
        (step,) = shell.children()
        starter.kill()
    assert not psutil.wait_procs([step], timeout=5)[1]


def test_a_program_whose_parent_is_gone_already_never_starts(tmp_path):
    made = tmp_path / "made"
    done = subprocess.run(
        [sys.executable, "-m", "facet.lifeline", str(os.getpid() + 1), "touch", str(made)],
        env=tiny.child_environment(),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not made.exists()


def test_a_step_whose_chain_is_gone_never_starts():
    ended = subprocess.Popen(["true"])
    ended.wait()
    done = subprocess.run(
        [sys.executable, "-c", "from facet.lifeline import die_with_parent; die_with_parent(); print('alive')"],
        env=tiny.child_environment(FACET_LIFELINE=str(ended.pid)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not done.stdout
