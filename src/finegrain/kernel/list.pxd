# Doubly linked lists whose links lie in the elements themselves.
#
# A list has a first element and, where somebody needs its end, a last one; NULL is given as `last` where it has none.
# An element says where its own two links are; its neighbours' lie as far into them.  So one set of functions serves
# every list: the C compiler sees the fields' offsets and makes of each call what would be written by hand.
#
#     list_insert_tail(<void**>&pq.first, <void**>&pq.last, m, <void**>&m.plinks_next, <void**>&m.plinks_prev)
#
# Nothing here takes, needs or knows a lock, costs simulated time, or says which lines are touched: the caller does.
# Stands for FreeBSD's queue(3): TAILQ_INSERT_HEAD(), TAILQ_REMOVE() and their like.


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
