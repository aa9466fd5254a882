import numpy as np

from finegrain.workload import recording as rec
from finegrain.workload.clock import pauses, user_time


def fault(time, **columns):
    return {"time": time, "kind": rec.FAULT, **columns}


def test_the_cost_of_a_kind_of_record_is_taken_off(make_recording):
    # 100 times 1000 ns to the next record, of which hardly any is user time, and once 50 us
    times = [*range(0, 100_000, 1000), 150_000]
    user, costs = user_time(make_recording([fault(t) for t in times]).events)
    assert list(costs.values()) == [1000]
    assert user.tolist() == [0] * 100 + [50_000]


def test_each_kind_of_record_has_its_own_cost(make_recording):
    rows = [fault(i * 10_000) for i in range(60)]
    rows += [fault(i * 10_000 + 2000, info=rec.FAULT_WRITE) for i in range(60)]
    user, costs = user_time(make_recording(rows).events)
    assert sorted(costs.values()) == [2000, 8000]
    assert user.sum() == 0


def test_time_off_the_cpu_and_in_the_kernel_is_not_user_time(make_recording):
    rows = [
        fault(0),
        fault(1000),
        {"time": 2000, "kind": rec.OFF},
        {"time": 9_000_000, "kind": rec.ON},
        fault(9_001_000),
        {"time": 9_002_000, "kind": rec.KERNEL},
        {"time": 19_000_000, "kind": rec.FORK, "info": 1},
        fault(19_001_000),
    ]
    user, _ = user_time(make_recording(rows).events)
    assert user.sum() < 10_000


def test_threads_do_not_count_each_others_time(make_recording):
    rows = [fault(t, thread=t // 1000 % 2) for t in range(0, 10_000, 1000)]
    user, costs = user_time(make_recording(rows).events)
    assert set(costs.values()) == {2000}
    assert user.sum() == 0


def off_on(since, until, **columns):
    return [
        {"time": since, "kind": rec.OFF, **columns},
        {
            "time": until,
            "kind": rec.ON,
            "process": columns.get("process", 0),
            "thread": columns.get("thread", 0),
        },
    ]


def found(make_recording, rows, end, start=None):
    """Pauses of process 0 whose children 1, 2, ... run from `start` to `end`."""
    ends = np.array([10**12, *end])
    starts = np.array([0, *(start or [0] * len(end))])
    parent = np.array([-1] + [0] * len(end), np.int32)
    return [(p.ns, p.child) for p in pauses(make_recording(rows).events, parent, starts, ends)]


def test_a_pause_waits_for_the_last_child_that_exits_in_it(make_recording):
    assert found(make_recording, off_on(5000, 9000), [4000, 6000, 8000]) == [(4000, 3)]


def test_a_pause_may_end_shortly_before_the_exit(make_recording):
    assert found(make_recording, off_on(5000, 9000), [500_000]) == [(4000, 1)]
    assert found(make_recording, off_on(5000, 9000), [2_000_000]) == [(4000, -1)]


def test_a_child_is_waited_for_once(make_recording):
    rows = [*off_on(5000, 9000), *off_on(10_000, 12_000)]
    assert found(make_recording, rows, [8000]) == [(4000, 1), (2000, -1)]
    assert found(make_recording, rows, [8000, 8500]) == [(4000, 2), (2000, -1)]


def test_a_child_forked_later_is_not_waited_for(make_recording):
    assert found(make_recording, off_on(5000, 9000), [20_000], [10_000]) == [(4000, -1)]


def test_preemption_is_no_pause(make_recording):
    assert found(make_recording, off_on(5000, 9000, info=1), [8000]) == []


def test_a_pause_of_one_thread_while_another_runs_does_not_count(make_recording):
    rows = [*off_on(5000, 9000, thread=1), fault(6000)]
    assert found(make_recording, rows, [8000]) == []
