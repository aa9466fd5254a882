"""Whatever Python passes to a lab, the interpreter lives: a child that tries it never dies by a signal."""

import subprocess
import sys
import textwrap

import pytest

# The child draws operations of a lab's own table with arguments of every kind: sensible ones, so that much is done,
# and any others, so that all is refused that must be.  Several threads, runs cut short, results looked at all over.
CHILD = textwrap.dedent("""
    import faulthandler, random, sys
    from finegrain import lab
    from finegrain.machine.errors import KernelPanic
    from finegrain.machine.machine import Machine
    from finegrain.machine.simulated import SimulatedMachine

    faulthandler.enable()
    ALLOWED = (TypeError, ValueError, LookupError, KernelPanic, MemoryError)
    MIB, PAGE, SUPER, US = 1 << 20, 4096, 1 << 21, 10**6
    kind, seed = sys.argv[1], int(sys.argv[2])
    r = random.Random(seed)
    WEIRD = [None, -1, 1 << 63, 1 << 64, -(1 << 63), 1 << 200, 1.5, "x", b"y", [], (), {}, object(), True, 2**31, "rw"]

    def machine():
        return SimulatedMachine(sockets=r.choice([1, 2]), cores=r.choice([1, 4]), threads=1, memory=64 * MIB)

    def make(m):
        design = r.choice(["head", "superpage", "superpage+batch", "hashed:locks=3,padded"])
        if kind == "PhysicalMemory":
            return lab.PhysicalMemory(m, r.choice([None, [(MIB, 32 * MIB, 0), (32 * MIB, 64 * MIB, 1)]]))
        if kind == "Pmaps":
            return lab.Pmaps(m, design=design)
        if kind == "AddressSpaces":
            return lab.AddressSpaces(m, design=design, files=[40, 600])
        return lab.LockScripts(m, ["mtx", "rw", "sx", "spin", "mtx8", "bit2", "bit2", "sx"])

    pages = []

    def good(place, of):
        k = of or place
        if k == "page":
            return r.choice(pages or [MIB]) if r.random() < 0.9 else MIB + r.randrange(16000) * PAGE
        if k in ("va", "end", "byte"):
            return (1 << 30) + r.choice([0, 0, SUPER, r.randrange(1024) * PAGE])
        small = {"pmap": 3, "object": 3, "space": 4, "lock": 8, "interlock": 8, "script": 12, "channel": 2, "skip": 3,
                 "index": 600, "time": 50 * US, "prot": 8, "flags": 8, "access": 4, "file": 2, "domain": 1,
                 "priority": 256, "premap": 3, "flag": 2, "superpage": 2, "number": 1000, "files": 1,
                 "generation": 1 << 62}
        return r.randrange(small[k])

    def operation(table):
        name = r.choice(list(table))
        arguments = []
        for word in table[name][0].split():
            word, _, default = word.partition("=")
            place, _, of = word.lstrip("!").partition(":")
            if default and r.random() < 0.5:
                break
            arguments.append(r.choice(WEIRD) if r.random() < WILD else good(place, of))
        if r.random() < WILD:
            arguments.append(0)
        if r.random() < WILD:
            return r.choice([*WEIRD, (), ("nonsense", 1), (None,), [name]])
        if "alloc" == name and r.random() < 0.3:
            arguments[1] = r.randrange(512)
        return (name, *arguments)

    def operations(table, count):
        # So many of them; those of locks mostly pair, or little would come of them.
        if kind != "LockScripts" or r.random() < 0.2:
            return [operation(table) for _ in range(count)]
        steps, held = [], []
        for _ in range(count):
            lock = r.randrange(8)
            if lock in held or r.random() < 0.3:
                steps.append(operation(table) if r.random() < 0.1 else (
                    r.choice(["charge", "user"]), r.randrange(50 * US)))
            elif held and r.random() < 0.5:
                steps.append(("unlock", held.pop()))
            else:
                held.append(lock)
                steps.append((r.choice(["lock", "lock", "rlock"]), lock))
        return steps + [("unlock", lock) for lock in reversed(held)]

    def attempt(call, *arguments):
        try:
            return call(*arguments)
        except ALLOWED as error:
            text = str(error)
            assert text, repr(error)
            assert isinstance(error, (KernelPanic, KeyError)) or "\\n" not in text, text
            errors.append(text)

    errors = []
    done = 0
    for round in range(12):
        WILD = [0.0, 0.02, 0.0, 0.3][round % 4]
        pages.clear()
        m = machine()
        attempt(make, r.choice([None, 3, "m"]))
        one = make(m)
        assert attempt(make, m) is None          # it has a kernel already
        table = one.operations()
        if hasattr(one, "object"):
            for color in (0, None, 5):
                one.object(700, color=color)
            alloc = [("alloc", o, i) for o in (0, 1) for i in range(r.choice([5, 512]))]
            pages += [pa for pa in attempt(one.run, *alloc) or [] if pa]
        if kind == "Pmaps":
            attempt(one.run, ("pinit", 0), ("pinit", 1))
        if kind == "AddressSpaces":
            attempt(one.run, ("fill",), ("new", 0), ("new", 1))
            for space in (0, 1):
                attempt(one.do, "mmap", space, 1 << 30, (1 << 30) + 2 * SUPER, 3, r.choice([-1, 0, 1]))
        for _ in range(20):
            for _ in range(r.choice([0, 1, 4])):
                attempt(one.start, operations(table, r.randrange(30)))
            if r.random() < 0.5:
                attempt(m.run, m.time_ps + r.randrange(100 * US))
            else:
                for _ in range(10):
                    attempt(one.run, operation(table))
                answers = attempt(one.run, *operations(table, r.choice([1, 1, 3, 20])))
                if kind in ("Pmaps", "PhysicalMemory"):
                    pages += [a for a in answers or [] if a is not None and a >= MIB and a % PAGE == 0]
            for name in r.sample([n for n in dir(one) if not n.startswith("_")], 4):
                value = getattr(one, name)
                if callable(value) and name not in ("run", "start"):
                    count = r.randrange(4)
                    attempt(value, *[r.choice([*WEIRD, *pages[:2], 0, 1, 2]) for _ in range(count)])
        attempt(one.join)
        done += len(attempt(one.trace) or [])
        for reader in (lab.read_profile, lab.read_charged, lab.read_pv_waits, lab.read_names, lab.reset_profile,
                       lab.superpage_holds):
            for at in (m, None, Machine(), SimulatedMachine(sockets=1, cores=1)):
                attempt(reader, at, *([r.choice([*WEIRD, 5])] if reader in (
                    lab.read_names, lab.reset_profile, lab.superpage_holds) else []))
    print(len(errors), done)
""")

LABS = ["PhysicalMemory", "Pmaps", "AddressSpaces", "LockScripts"]


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("seed", range(6))
def test_arbitrary_operations_never_end_the_interpreter(lab: str, seed: int) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, lab, str(seed)], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
    errors, done = map(int, child.stdout.split())
    assert errors > 100
    assert done > 100, "little that was sensible was tried"
