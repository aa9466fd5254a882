def test_alive_at_gives_each_process_its_next_step(hello):
    for t in range(0, hello.duration_ns, hello.duration_ns // 7):
        alive, next_step = hello.alive_at(t)
        for process, step in zip(alive.tolist(), next_step.tolist(), strict=True):
            assert hello.first_step[process] <= step < hello.first_step[process + 1]
            assert hello.start[process] <= t < hello.time[step]
            assert step == hello.first_step[process] or hello.time[step - 1] <= t
        dead = set(range(len(hello.parent))) - set(alive.tolist())
        assert all(hello.start[p] > t or hello.time[hello.first_step[p + 1] - 1] <= t for p in dead)
