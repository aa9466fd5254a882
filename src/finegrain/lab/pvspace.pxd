# What the tables of a PV list lock design take in memory, without building them.

from finegrain.kernel.pmap cimport pvtable_plan

cdef list regions_of(const pvtable_plan* plan)
