# SPDX-License-Identifier: BSD-3-Clause
"""Start-ups in which a system call or an allocation fails: see faults.py.

Every eleventh call by default, each with one error; CROSVM_TEST_FAULTS=1 takes them all, each with
all the errors that it is known for.
"""
import concurrent.futures
import multiprocessing
import os

import pytest

import bare_guest
import faults

ALL = bool(os.environ.get('CROSVM_TEST_FAULTS'))
STRIDE = 1 if ALL else 11
WORKERS = 2
KINDS = {'jails': (), 'threads': ('--disable-sandbox', '--transport', 'mmio')}
RIG = None

pytestmark = pytest.mark.skipif(not bare_guest.has_kvm(), reason='no access to /dev/kvm')


def begin(folder, options):
    """In a worker."""
    global RIG  # pylint: disable=global-statement
    faults.enter_network()
    RIG = faults.Rig(folder / str(os.getpid()), options)


def call_fails(process, number, at, error):
    """In a worker."""
    return RIG.call_fails(process, number, at, error)


def memory_fails(process, at):
    """In a worker."""
    return RIG.memory_fails(process, at), RIG.allocations()


def plain():
    """In a worker."""
    return RIG.plain()


@pytest.fixture(scope='module', params=KINDS)
def workers(request, tmp_path_factory):
    """Processes, each with a machine and a network of its own."""
    faults.build()
    with concurrent.futures.ProcessPoolExecutor(
            WORKERS, multiprocessing.get_context('spawn'), begin,
            (tmp_path_factory.mktemp('faults'), KINDS[request.param])) as pool:
        yield pool


def complaints(pool, work, jobs):
    """All of all runs, by what failed."""
    started = {pool.submit(work, *job): what for what, job in jobs}
    found = {}
    for future in concurrent.futures.as_completed(started):
        result = future.result()
        result = result[0] if isinstance(result[0], faults.Result) else result
        if result.complaints:
            found[started[future]] = result
    return found


def test_start_up_bears_the_failure_of_any_system_call(workers):
    result, calls = workers.submit(plain).result()
    assert result.code == faults.WORKED and not result.complaints, result
    jobs = [(f'{call.process} {call.name} {call.at}: error {error}',
             (call.process, call.number, call.at, error))
            for call in calls for error in faults.errors_of(call, ALL)]
    assert len(jobs) > 500
    assert not complaints(workers, call_fails, jobs[::STRIDE])


def test_start_up_bears_the_failure_of_any_allocation(workers):
    result, counts = workers.submit(memory_fails, '', 0).result()
    assert result.code == faults.WORKED and not result.complaints, result
    jobs = [(f'{name} allocation {at}', (name, at))
            for name, count in counts.items() for at in range(1, count + 1)]
    assert len(jobs) > 100
    assert not complaints(workers, memory_fails, jobs[::STRIDE])
