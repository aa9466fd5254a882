# The runner: operations on a kernel, by name, on simulated threads.  See run.pxd.

from itertools import islice
from operator import index

from libc.stdint cimport int64_t, uint64_t

from finegrain.machine.seam cimport arena_alloc, arena_free, now, panic, sched_point
from finegrain.machine.simulated.types cimport STOP_PANIC, sim

from finegrain.design import MAX_HASHED_LOCKS, OPTIONS, SIZES, Design, parse_design
from finegrain.errors import UserError
from finegrain.machine.errors import KernelPanic

MAX_OPERATIONS = 1_000_000              # of a thread
MAX_CALLS = 16_000_000                  # of a lab
MAX_TIME_PS = 10**13                    # of one operation: 10 s
MAX_CLOCK_PS = 10**18                   # of a machine: 11 days; the clock has room for 106
MAX_TEXT = 60
USER_END = 1 << 47                      # user addresses lie below it


# --- values

cdef str shown(object given):
    """Say what was given, in a few words and without asking it for too much."""
    cdef str text
    if isinstance(given, int):
        if -(1 << 80) < int(given) < 1 << 80:
            return str(int(given))
        return f"a number of {int.bit_length(int(given))} bits"
    if type(given) in (str, bytes, float) or given is None:
        text = repr(given[:MAX_TEXT] if type(given) in (str, bytes) else given)
        return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."
    return f"a {type(given).__name__[:MAX_TEXT]}"


cdef object whole(str what, object given, object low, object high, str meaning):
    try:
        number = index(given)
    except TypeError:
        raise TypeError(f"{what} must be {meaning}, not {shown(given)}") from None
    if not low <= number <= high:
        raise ValueError(f"{what} must be {meaning}, not {shown(number)}")
    return int(number)


cdef int fresh(SimulatedMachine machine) except -1:
    if machine is None:
        raise TypeError("a lab needs a SimulatedMachine, not None")
    if machine.running_now:
        raise ValueError("the machine is running")
    if machine.m.profile != NULL or machine.m.threads != NULL:
        raise ValueError("the machine has a kernel already: a lab makes its own, on a fresh machine")
    return 0


cdef list checked_segments(SimulatedMachine machine, object segments):
    cdef object end = int(machine.m.dmap_size)
    if end == 0:
        raise ValueError("the machine has no memory: SimulatedMachine(memory=...) gives it some")
    if segments is None:
        low = 1 << 20 if end > 1 << 20 else PAGE
        return [(low, end, 0)]
    if isinstance(segments, (str, bytes)):
        raise TypeError(f"segments are a list of (start, end, domain), not {shown(segments)}")
    try:
        rows = list(islice(segments, 1000))
    except TypeError:
        raise TypeError(f"segments are a list of (start, end, domain), not {shown(segments)}") from None
    checked = []
    for i, row in enumerate(rows):
        what = f"memory segment {i}"
        if not isinstance(row, (tuple, list)) or len(row) != 3:
            raise TypeError(f"{what} must be (start, end, domain), not {shown(row)}")
        start, stop, domain = row
        limit = f"an address up to the end of memory at {end:#x}"
        checked.append((whole(what + ": start", start, 0, end, limit), whole(what + ": end", stop, 0, end, limit),
                        whole(what + ": domain", domain, 0, 255, "the number of a memory domain")))
    if not checked:
        raise ValueError("no memory segment: give at least one (start, end, domain)")
    return checked


cdef object checked_design(object design):
    if isinstance(design, str):
        try:
            return parse_design(design)
        except UserError as error:
            raise ValueError(str(error)) from None
    if not isinstance(design, Design):
        raise TypeError(f"design must be a spelling such as 'superpage+batch' or a Design, not {shown(design)}")
    if design.layout not in SIZES:
        raise ValueError(f"design: layout must be {' or '.join(SIZES)}, not {shown(design.layout)}")
    if design.lock not in SIZES[design.layout]:
        raise ValueError(f"design: lock must be one of {', '.join(SIZES[design.layout])}, not {shown(design.lock)}")
    if design.table not in OPTIONS["table"]:
        raise ValueError(f"design: table must be one of {', '.join(OPTIONS['table'])}, not {shown(design.table)}")
    if design.pad not in (0, *OPTIONS["pad"]):
        raise ValueError(f"design: pad must be 0, {' or '.join(map(str, OPTIONS['pad']))}, not {shown(design.pad)}")
    low = 1 if design.layout == "hashed" else 0
    locks = whole("design: locks", design.locks, low, MAX_HASHED_LOCKS, f"from {low} to {MAX_HASHED_LOCKS}")
    return Design(str(design.name), str(design.layout), locks=locks, pad=int(design.pad), table=str(design.table),
                  lock=str(design.lock), batch=bool(design.batch))


cdef tuple checked_config(SimulatedMachine machine, object segments, object design):
    return checked_segments(machine, segments), checked_design(design)


# --- the table

cdef class Operation:
    """An operation: its name, its arguments and what it does."""

    def __repr__(self):
        return f"{self.name} {self.signature}".strip()


cdef class Operations:
    """A lab's operations, by name."""

    def __cinit__(self, dict slots):
        self.rows = {}
        self.slots = slots

    cdef int add(self, str name, str signature, int64_t (*function)(thread*, lab_call*) noexcept nogil,
                 str meaning) except -1:
        # The signature: a word an argument, "name", "name:kind" where the two differ, "...=default" where it may be
        # left out, and "!" before it where the operation must have the thing for itself.
        cdef Operation row = Operation.__new__(Operation)
        row.name = name
        row.signature = signature
        row.meaning = meaning
        row.function = function
        row.arguments = []
        row.uses = []
        for i, word in enumerate(signature.split()):
            word, _, default = word.partition("=")
            place, _, kind = word.lstrip("!").partition(":")
            row.arguments.append((place, kind or place, int(default) if default else None))
            if not default:
                row.required = i + 1
            if (kind or place) in self.slots:
                row.uses.append((i, self.slots[kind or place], word.startswith("!")))
        if len(row.arguments) > ARGUMENTS or len(row.uses) > 3:
            raise AssertionError(f"{name} has too many arguments")
        self.rows[name] = row
        return 0

    cdef Operations extended(self):
        cdef Operations more = Operations(self.slots)
        more.rows = dict(self.rows)
        return more


# --- in the thread

# The operation uses what its arguments name; False, and why, when it may not.
cdef bint take(lab_call* c) noexcept nogil:
    cdef uint32_t* uses
    cdef int i, k
    for i in range(c.used):
        k = c.use_slot[i]
        uses = &c.world.slots[k][c.a[c.use_argument[i]] >> c.world.slot_shift[k]]
        if uses[0] == ALONE or (c.use_alone[i] and uses[0] != 0):
            give(c, i)
            c.refused = b"another thread is at work on it"
            return False
        uses[0] = ALONE if c.use_alone[i] else uses[0] + 1
    return True


cdef void give(lab_call* c, int count) noexcept nogil:
    cdef uint32_t* uses
    cdef int i, k
    for i in range(count):
        k = c.use_slot[i]
        uses = &c.world.slots[k][c.a[c.use_argument[i]] >> c.world.slot_shift[k]]
        uses[0] = 0 if c.use_alone[i] else uses[0] - 1


cdef void run_call(thread* td, lab_call* c) noexcept nogil:
    if not c.world.checked:
        c.result = c.function(td, c)
    elif take(c):
        c.result = c.function(td, c)
        give(c, c.used)


# A simulated thread's life.
cdef void run_job(thread* td, void* argument) noexcept nogil:
    cdef lab_job* j = <lab_job*>argument
    cdef lab_call* c
    j.td = td
    while j.done < j.count:
        c = &j.calls[j.done]
        sched_point(td)                 # what other threads do before this one's time has happened
        c.begin = now(td)
        run_call(td, c)
        if c.refused != NULL:
            j.refused = c.refused
            break
        c.end = now(td)
        j.world.ended += 1
        c.order = j.world.ended
        j.done += 1 + c.skip
    if j.world.leave != NULL:
        j.world.leave(td, j)
    elif td.nheld != 0:
        panic(td, b"an operation left a lock held")
    j.ended = True


# --- from Python

cdef class Lab:
    """What all labs share: threads that run operations on the kernel of a simulated machine.

    An operation is a tuple (name, arguments...). `operations()` lists them. Times are picoseconds, addresses bytes.
    TypeError, ValueError and LookupError say what was wrong with an argument, and ValueError also what the kernel's
    state did not allow; KernelPanic that the kernel stopped, after which the lab is of no use any more.
    """

    def __cinit__(self, SimulatedMachine machine not None, *_, **__):
        fresh(machine)
        self.machine = machine

    cdef Operations table(self):
        raise NotImplementedError

    cdef int make_world(self, uint64_t size) except -1:
        self.world = <lab_world*>arena_alloc(self.machine.m, size)
        if self.world == NULL:
            raise MemoryError("the machine's arena has no room for a lab")
        self.world.checked = True
        return 0

    cdef int make_slot(self, int slot, uint64_t count, int shift) except -1:
        self.world.slots[slot] = <uint32_t*>arena_alloc(self.machine.m, count * sizeof(uint32_t))
        self.world.slot_shift[slot] = shift
        if self.world.slots[slot] == NULL:
            raise MemoryError("the machine's arena has no room for a lab")
        return 0

    cdef object value(self, str kind, str what, object given):
        if kind == "time":
            return whole(what, given, 0, MAX_TIME_PS, f"a time from 0 to {MAX_TIME_PS} ps")
        if kind == "flag":
            return whole(what, given, 0, 1, "0 or 1")
        if kind in ("va", "end", "byte"):
            last = {"va": USER_END - PAGE, "end": USER_END, "byte": USER_END - 1}[kind]
            number = whole(what, given, 0, last, f"a virtual address up to {last:#x}")
            if kind != "byte" and number % PAGE != 0:
                raise ValueError(f"{what} must be a multiple of {<int>PAGE}, not {shown(number)}")
            return number
        if kind == "index":
            return whole(what, given, 0, <int>MAX_INDEX - 1, f"a page number below {<int>MAX_INDEX}")
        if kind == "prot":
            if isinstance(given, str):
                if any(given.count(letter) != (letter in given) or letter not in "rwx" for letter in given):
                    raise ValueError(f"{what} must be letters of 'rwx', each once, not {shown(given)}")
                return sum({"r": 1, "w": 2, "x": 4}[letter] for letter in given)
            return whole(what, given, 0, 7, "letters of 'rwx' or their sum of 1, 2 and 4")
        raise AssertionError(f"no kind {kind}")

    cdef int ready(self) except -1:
        cdef sim* s = self.machine.s
        if self.world == NULL:
            raise TypeError("not a lab that can run anything: use one of those in finegrain.lab")
        if self.machine.running_now:
            raise ValueError("the machine is running")
        if s.reason == STOP_PANIC:
            why = (<bytes>s.panic_text).decode(errors="replace").partition("\n")[0]
            raise KernelPanic(f"the kernel has stopped: {why}")
        return 0

    cdef lab_job* job_of(self, object number) except NULL:
        at = whole("thread", number, 0, MAX_JOBS - 1, "a number that start() gave")
        self.ready()
        if at >= self.world.njobs:
            raise IndexError(f"no thread {at}; {self.world.njobs} were started")
        return self.world.jobs[<int64_t>at]

    cdef int64_t put(self, object operations) except -1:
        cdef lab_job* j
        cdef lab_call* c
        cdef Operation row
        cdef int64_t n
        cdef int k
        # All that may run Python of others comes first; after it nothing is done but what cannot fail halfway.
        checked = self.checked(operations)
        self.ready()
        n = len(checked)
        asked = self.world.asked + sum(
            sum(value for value, (_, kind, _) in zip(values, (<Operation>row).arguments, strict=True) if kind == "time")
            for row, values in checked)
        if asked > MAX_CLOCK_PS:
            raise ValueError(f"a lab has {MAX_CLOCK_PS} ps in all: take a fresh machine")
        if self.world.njobs == MAX_JOBS or self.world.calls + n > MAX_CALLS:
            raise ValueError(f"a lab keeps {<int>MAX_JOBS} threads and {MAX_CALLS:,} operations at most")
        j = <lab_job*>arena_alloc(self.machine.m, sizeof(lab_job))
        c = <lab_call*>arena_alloc(self.machine.m, max(n, 1) * sizeof(lab_call))
        if j == NULL or c == NULL:
            raise MemoryError("the machine's arena is full")
        j.world = self.world
        j.calls = c
        j.count = n
        for row, values in checked:
            c.function = row.function
            c.world = self.world
            for k in range(len(values)):
                c.a[k] = values[k]
            for argument, slot, alone in row.uses:
                if self.world.slots[<int>slot] != NULL:
                    c.use_argument[c.used] = argument
                    c.use_slot[c.used] = slot
                    c.use_alone[c.used] = alone
                    c.used += 1
            c += 1
        self.world.jobs[self.world.njobs] = j
        self.world.njobs += 1
        self.world.calls += n
        self.world.asked = asked
        return self.world.njobs - 1

    def checked(self, operations):
        """Check operations without running them: [(row, values)]. Raises what run() would."""
        if isinstance(operations, (str, bytes)):
            raise TypeError(f"operations must be a list of tuples (name, arguments...), not {shown(operations)}")
        try:
            rows = list(islice(operations, MAX_OPERATIONS + 1))
        except TypeError:
            raise TypeError(
                f"operations must be a list of tuples (name, arguments...), not {shown(operations)}") from None
        if len(rows) > MAX_OPERATIONS:
            raise ValueError(f"a thread can be given {MAX_OPERATIONS:,} operations at most")
        return [self.checked_one(operation) for operation in rows]

    def checked_one(self, operation):
        """Check one operation: (row, values)."""
        cdef Operation row
        cdef Operations table = self.table()
        if not isinstance(operation, (tuple, list)) or len(operation) == 0:
            raise TypeError(f"an operation must be a tuple (name, arguments...), not {shown(operation)}")
        name, *given = operation
        if not isinstance(name, str):
            raise TypeError(f"the name of an operation must be a string, not {shown(name)}")
        row = table.rows.get(name)
        if row is None:
            raise LookupError(f"no operation {shown(name)}; there are {', '.join(sorted(table.rows))}")
        if not row.required <= len(given) <= len(row.arguments):
            raise TypeError(f"{row!r}: {len(given)} arguments given, it takes " + (
                str(row.required) if row.required == len(row.arguments) else
                f"{row.required} to {len(row.arguments)}"))
        values = []
        for i, (place, kind, default) in enumerate(row.arguments):
            values.append(self.value(kind, f"{row.name}: {place}", given[i]) if i < len(given) else default)
        return row, values

    cdef int launch(self, int64_t number) except -1:
        cdef lab_job* j = self.world.jobs[number]
        if j.started:
            raise ValueError(f"thread {number} was started already")
        if self.machine.s.time > MAX_CLOCK_PS:
            raise ValueError("the machine's clock has no room left: take a fresh machine")
        if self.machine.m.ops.spawn(NULL, self.machine.m, run_job, j, NULL) == NULL:
            raise MemoryError(f"the machine cannot have a thread more than its {self.machine.s.nthreads}")
        j.started = True
        return 0

    # Forget the youngest thread, which has ended.
    cdef int drop(self, int64_t number) except -1:
        cdef lab_job* j = self.world.jobs[number]
        if number != self.world.njobs - 1 or (j.started and not j.ended):
            return 0
        self.world.njobs -= 1
        self.world.calls -= j.count
        arena_free(self.machine.m, j.calls, max(j.count, 1) * sizeof(lab_call))
        arena_free(self.machine.m, j, sizeof(lab_job))
        return 0

    cdef int raise_refusal(self, lab_job* j) except -1:
        cdef lab_call* c
        cdef Operation row
        if j.refused == NULL:
            return 0
        why = (<bytes>j.refused).decode()
        if j.done >= j.count:
            raise ValueError(f"after the last operation: {why}")
        c = &j.calls[j.done]
        for row in self.table().rows.values():
            if row.function == c.function:
                break
        values = ", ".join(f"{c.a[i]:#x}" if kind in ("page", "va") else str(c.a[i])
                           for i, (_, kind, _) in enumerate(row.arguments))
        raise ValueError(f"operation {j.done}, {row.name}({values}): {why}; those before it were done")

    def start(self, operations):
        """Give operations to a new thread; it runs when the machine does. Returns its number."""
        number = self.put(operations)
        self.launch(number)
        return number

    def results(self, number):
        """What each operation of a thread answered, in order: those that have ended, None for those left out.

        Raises ValueError when one was refused: `partial_results` has what came before.
        """
        cdef lab_job* j = self.job_of(number)
        self.raise_refusal(j)
        return self.partial_results(number)

    def partial_results(self, number):
        """What each operation of a thread answered until it ended or was refused."""
        cdef lab_job* j = self.job_of(number)
        cdef int64_t i
        return [j.calls[i].result if j.calls[i].order != 0 else None for i in range(min(j.done, j.count))]

    def run(self, *operations):
        """Run operations on a thread of their own, and the machine until every thread has ended; the answers.

        Raises ValueError when one was refused, and KernelPanic.
        """
        cdef int64_t number = self.put(operations)
        self.launch(number)
        self.machine.run()
        try:
            return self.results(number)
        finally:
            self.drop(number)

    def do(self, *operation):
        """Run one operation; its answer."""
        return self.run(operation)[0]

    def join(self):
        """Run the machine until every thread has ended.

        Raises ValueError when an operation of any thread of this lab was refused, and KernelPanic.
        """
        cdef int64_t i
        self.ready()
        self.machine.run()
        for i in range(self.world.njobs):
            self.raise_refusal(self.world.jobs[i])

    def trace(self):
        """Operations of the threads started, in the order in which they ended.

        Rows are (begin ps, end ps, thread, number in the thread, name, answer).
        """
        cdef int64_t i, k
        cdef lab_job* j
        cdef lab_call* c
        cdef Operation row
        names = {}
        for row in self.table().rows.values():
            names[<uint64_t>row.function] = row.name
        rows = []
        for i in range(self.world.njobs):
            j = self.world.jobs[i]
            for k in range(j.count):
                c = &j.calls[k]
                if c.order != 0:
                    rows.append((c.order, (c.begin, c.end, i, k, names[<uint64_t>c.function], c.result)))
        return [ended for _, ended in sorted(rows)]

    def operations(self):
        """The operations that this lab knows: {name: (arguments, what it does)}."""
        cdef Operation row
        return {row.name: (row.signature, row.meaning) for row in self.table().rows.values()}
