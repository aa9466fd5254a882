# Doubly linked lists whose links lie in the elements themselves.
#
# A list has a first element and, where somebody needs its end, a last one; NULL is given as `last` where it has none.
# An element says where its own two links are; its neighbours' lie as far into them.  So one set of functions serves
# every list: the C compiler sees the fields' offsets and makes of each call what would be written by hand.
#
#     list_insert_tail(<void**>&pq.first, <void**>&pq.last, m, <void**>&m.plinks_next, <void**>&m.plinks_prev)
#
# Nothing here takes, needs or knows a lock or costs simulated time.  What an operation is about to write besides elem's
# own links, its neighbours' and the list's head, the list_touch_*() say: call one just before it.
# Stands for FreeBSD's queue(3): TAILQ_INSERT_HEAD(), TAILQ_REMOVE() and their like.


from finegrain.machine.seam cimport touch_write
from finegrain.machine.thread cimport thread


# The link of another element that corresponds to `link` of elem.
cdef inline void** list_link(void* other, void* elem, void** link) noexcept nogil:
    return <void**>(<char*>other + (<char*>link - <char*>elem))


# Put elem behind `where`, which is on the list; NULL: to the front.
cdef inline void list_insert_after(void** first, void** last, void* where, void* elem, void** next,
                                   void** prev) noexcept nogil:
    cdef void* after
    if where == NULL:
        after = first[0]
        first[0] = elem
    else:
        after = list_link(where, elem, next)[0]
        list_link(where, elem, next)[0] = elem
    prev[0] = where
    next[0] = after
    if after != NULL:
        list_link(after, elem, prev)[0] = elem
    elif last != NULL:
        last[0] = elem


cdef inline void list_insert_head(void** first, void** last, void* elem, void** next, void** prev) noexcept nogil:
    list_insert_after(first, last, NULL, elem, next, prev)


# For lists that have a last element.
cdef inline void list_insert_tail(void** first, void** last, void* elem, void** next, void** prev) noexcept nogil:
    cdef void* before = last[0]
    prev[0] = before
    next[0] = NULL
    if before != NULL:
        list_link(before, elem, next)[0] = elem
    else:
        first[0] = elem
    last[0] = elem


# Take elem off; its own links say afterwards that it is on no list.
cdef inline void list_remove(void** first, void** last, void* elem, void** next, void** prev) noexcept nogil:
    cdef void* before = prev[0]
    cdef void* after = next[0]
    if before != NULL:
        list_link(before, elem, next)[0] = after
    else:
        first[0] = after
    if after != NULL:
        list_link(after, elem, prev)[0] = before
    elif last != NULL:
        last[0] = before
    next[0] = NULL
    prev[0] = NULL


# --- the lines that an operation writes

# elem is about to be taken off.  `first`: the list's head, which has the last element in the same line if at all.
cdef inline void list_touch_remove(thread* td, void** first, void* elem, void** next, void** prev) noexcept nogil:
    touch_write(td, next)
    touch_write(td, <void*>list_link(prev[0], elem, next) if prev[0] != NULL else <void*>first)
    touch_write(td, <void*>list_link(next[0], elem, prev) if next[0] != NULL else <void*>first)


# elem is about to be put behind `where`; NULL: to the front.
cdef inline void list_touch_insert_after(thread* td, void** first, void* where, void* elem, void** next,
                                         void** prev) noexcept nogil:
    cdef void* after = first[0] if where == NULL else list_link(where, elem, next)[0]
    touch_write(td, next)
    touch_write(td, <void*>list_link(where, elem, next) if where != NULL else <void*>first)
    touch_write(td, <void*>list_link(after, elem, prev) if after != NULL else <void*>first)


cdef inline void list_touch_insert_head(thread* td, void** first, void* elem, void** next, void** prev) noexcept nogil:
    list_touch_insert_after(td, first, NULL, elem, next, prev)


# For lists that have a last element.
cdef inline void list_touch_insert_tail(thread* td, void** first, void** last, void* elem, void** next,
                                        void** prev) noexcept nogil:
    list_touch_insert_after(td, first, last[0], elem, next, prev)
