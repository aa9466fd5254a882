# Whose fault a cache-line transfer is.  See neighbours.pxd.

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from finegrain.machine.simulated.types cimport LINE_SHIFT, LINE_WORDS, MANY_CPUS, cpu, line_parts, sim, sim_thread
from finegrain.machine.thread cimport TRANSFER_WORDS, word_transfers

cdef enum:
    WORD_SHIFT = 3


cdef inline uint8_t word_in_line(sim* s, const void* address) noexcept nogil:
    return <uint8_t>((<uint64_t>(<const char*>address - s.m.arena) >> WORD_SHIFT) & (LINE_WORDS - 1))


cdef void sim_neighbours(machine* m, const void* address, uint64_t size) noexcept nogil:
    cdef sim* s = <sim*>m
    cdef const char* at = <const char*>address
    cdef const char* end = at + size
    cdef line_parts* parts
    cdef uint64_t number
    cdef uint8_t word, first = word_in_line(s, at)
    cdef int i
    while at < end:
        number = <uint64_t>(at - s.m.arena) >> LINE_SHIFT
        word = word_in_line(s, at)
        parts = &s.parts[number]
        if not s.lines[number].shared:
            s.lines[number].shared = True
            for i in range(LINE_WORDS):     # whatever else lies there is a part of its own, word by word
                parts.part[i] = <uint8_t>i
        if word == 0:
            first = 0
        parts.part[word] = first
        at += 1 << WORD_SHIFT


cdef void use_part(thread* td, line* at, const void* address, bint write) noexcept nogil:
    cdef sim* s = <sim*>td.machine
    cdef cpu* c = (<sim_thread*>td).cpu
    cdef line_parts* parts = &s.parts[at - s.lines]
    cdef uint16_t* used_by = &parts.used_by[parts.part[word_in_line(s, address)]]
    c.last_own = used_by[0] == c.id + 1
    if write or used_by[0] == 0:
        used_by[0] = c.id + 1
    elif not c.last_own:
        used_by[0] = MANY_CPUS          # who reads it again may have been one of them: not counted


cdef void transferred(thread* td, line* at, const void* word, ps_t time) noexcept nogil:
    cdef cpu* c = (<sim_thread*>td).cpu
    cdef word_transfers* t = &td.transfers[0]
    cdef int i = 0
    while i < TRANSFER_WORDS and t.word != word and t.word != NULL:
        i += 1
        t += 1
    if i == TRANSFER_WORDS:             # room for it: the oldest goes, but for the lock given up
        t = &td.transfers[1 if td.transfers[0].word == td.released_word else 0]
        while t != &td.transfers[TRANSFER_WORDS - 1]:
            t[0] = t[1]
            t += 1
        t.word = NULL
    if t.word == NULL:
        t.word = word
        t.time = t.neighbour_time = 0
        t.count = t.neighbours = 0
    t.time += time
    t.count += 1
    if at.shared and c.last_own and c.last_taken:
        t.neighbour_time += time
        t.neighbours += 1
