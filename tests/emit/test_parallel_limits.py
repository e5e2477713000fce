"""Processes that compile, where the system refuses what they need or sends signals, and with threads beside them."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from graphc.emit import objects, parallel
from graphc.emit.build import Builder
from graphc.errors import CompileError
from graphc.simd.levels import host_level

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
LENGTHS = {f"kernel_{n}": f"{n}" + "\n" * n for n in (900, 300, 500, 100, 600, 200)}
NAMES = {name: name.encode() for name in LENGTHS}


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", "3")
    monkeypatch.setattr(parallel, "LEAST", 1)
    monkeypatch.setattr(objects, "prepare", lambda level: None)
    monkeypatch.setattr(objects, "compile_kernel", named)


def named(text, name, level, natives):
    return name.encode()


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def offered():
    crew = parallel.Crew(host_level(), {})
    for name, text in LENGTHS.items():
        crew.offer(name, text)
    assert len(crew._children) == 2
    return crew


@pytest.mark.parametrize("missing", ["fork", "memfd_create"])
def test_where_the_system_gives_no_process_or_file_the_parent_makes_all(processes, monkeypatch, missing):
    def refused(*arguments):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, missing, refused)
    monkeypatch.setattr(objects, "compile_kernel", lambda text, name, *_: f"{os.getpid()}{name}".encode())
    made = parallel.compile_kernels(LENGTHS, host_level(), {})
    assert made == {name: f"{os.getpid()}{name}".encode() for name in LENGTHS}


def test_no_file_in_memory_is_asked_for_by_one_who_works_alone(processes, monkeypatch):
    monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", "1")
    monkeypatch.delattr(os, "memfd_create")  # other systems have none
    assert parallel.compile_kernels(LENGTHS, host_level(), {}) == NAMES


def test_no_other_child_is_tried_after_one_was_refused(processes, monkeypatch):
    fork, forks = os.fork, []

    def once():
        forks.append(1)
        if len(forks) > 1:
            raise OSError(12, "Cannot allocate memory")
        return fork()

    monkeypatch.setattr(os, "fork", once)
    assert parallel.compile_kernels(LENGTHS, host_level(), {}) == NAMES
    assert len(forks) == 2


@pytest.mark.parametrize("cut", range(1, 22))
def test_what_a_child_was_ended_in_the_middle_of_is_not_taken(processes, monkeypatch, cut):
    def append(file, data):
        whole(file, data)
        if os.getpid() != parent:
            os.ftruncate(file._number, file._size - cut)
            os.kill(os.getpid(), signal.SIGKILL)

    parent, whole = os.getpid(), parallel._File.append
    monkeypatch.setattr(parallel._File, "append", append)
    crew = offered()
    until(lambda: all(child.has_ended() for child in crew._children))
    assert crew.finish(LENGTHS) == NAMES


LIMITED = """
import resource, sys
from graphc.emit import objects, parallel
from graphc.simd.levels import host_level
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
objects.compile_kernel = lambda text, name, level, natives: text.encode()
objects.prepare = lambda level: None
kernels = {f"kernel_{n}": "\\n".join(f"{n} {line}" for line in range(900)) for n in range(6)}
assert parallel.compile_kernels(kernels, host_level(), {}) == {name: text.encode() for name, text in kernels.items()}
print("the same")
"""


@pytest.mark.parametrize("nbytes", [0, 100, 5000, 12_000, 20_000, 10_000_000])
def test_a_limit_on_the_sizes_of_files_cuts_no_kernel(nbytes):
    environment = {**os.environ, "GRAPHC_COMPILE_PROCESSES": "3"}
    command = [sys.executable, "-c", LIMITED, str(nbytes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "the same\n", done.stderr


SIGNALLED = """
import gc, os, signal, time
from graphc.emit import objects, parallel
from graphc.simd.levels import host_level
def note(what):
    os.write(2, (what + "\\n").encode())
signal.signal(signal.SIGTERM, lambda *_: note("handled"))
signal.signal(signal.SIGINT, signal.default_int_handler)  # where a shell began this in the background, it is ignored
parent = os.getpid()
def compile_kernel(text, name, level, natives):
    gc.collect()
    if os.getpid() == parent:
        time.sleep(1)
        print("ready", flush=True)
    time.sleep(20)
gc.disable()
objects.compile_kernel, objects.prepare = compile_kernel, lambda level: None
class Noted:
    def __del__(self):
        note("finalized")
noted = Noted()
noted.itself, noted = noted, None
try:
    parallel.compile_kernels({f"kernel_{n}": f"{n}" + "\\n" * 600 for n in range(3)}, host_level(), {})
except KeyboardInterrupt:
    note("interrupted")
finally:
    note("cleaned up")
"""


def test_a_signal_to_all_processes_is_handled_once_and_ends_the_children():
    pipe, environment = subprocess.PIPE, {**os.environ, "GRAPHC_COMPILE_PROCESSES": "3"}
    command = [sys.executable, "-c", SIGNALLED]
    process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)  # children hold its other end: this waits for them, too
    assert time.monotonic() - begun < 15
    assert sorted(said.split()) == sorted(["handled", "finalized", "interrupted", "cleaned", "up"])


def test_signals_that_the_program_ignores_or_blocks_stay_so(processes, monkeypatch):
    parent = os.getpid()

    def compile_kernel(text, name, level, natives):
        if os.getpid() == parent:
            time.sleep(0.2)
            return b""
        ignored = signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}
        return repr((ignored, blocked, signal.getsignal(signal.SIGINT) == signal.SIG_DFL)).encode()

    monkeypatch.setattr(objects, "compile_kernel", compile_kernel)
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        made = parallel.compile_kernels(LENGTHS, host_level(), {})
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        signal.signal(signal.SIGUSR1, before)
        signal.signal(signal.SIGINT, interrupt)
    assert set(made.values()) - {b""} == {b"(True, True, True)"}


def test_a_child_that_hangs_and_has_nobody_to_end_it_does_not_stay(processes, monkeypatch):
    parent = os.getpid()
    monkeypatch.setattr(parallel, "LONGEST", 1)
    monkeypatch.setattr(objects, "compile_kernel", lambda *_: os.getpid() == parent or time.sleep(100))
    crew = offered()
    until(lambda: all(child.has_ended() for child in crew._children))


def test_a_number_of_processes_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", "two")
    with pytest.raises(CompileError, match="GRAPHC_COMPILE_PROCESSES must be a whole number, got 'two'"):
        parallel.compile_kernels(LENGTHS, host_level(), {})


def test_nobody_offers_kernels_to_those_who_are_finishing(processes, monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    overlapped = []

    class Watched(parallel.Crew):
        inside = False

        def offer(self, name, text):
            self.inside = True
            time.sleep(0.02)
            super().offer(name, text)
            self.inside = False

        def finish(self, kernels):
            overlapped.append(self.inside)
            return super().finish(kernels)

    monkeypatch.setattr(parallel, "Crew", Watched)
    builder = Builder(host_level(), dict)
    thread = threading.Thread(target=lambda: [builder.offer(name, text) for name, text in LENGTHS.items()])
    thread.start()
    for name, text in LENGTHS.items():
        assert builder.objects({name: text}) == {name: name.encode()}
    thread.join()
    assert overlapped
    assert not any(overlapped)
    assert builder.objects(LENGTHS) == NAMES
