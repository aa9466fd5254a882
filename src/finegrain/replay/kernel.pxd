# The user side: processes that take the steps of a program, and the builders that run it.
#
# The arrays are those of workload.program.Program and workload.start.Start; their meaning is told there.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from finegrain.kernel.locks cimport lockmgr, mtx
from finegrain.kernel.proc cimport proc
from finegrain.kernel.vfs cimport pipepair, tmpfs_mount, vnode
from finegrain.machine.thread cimport ps_t
from finegrain.replay.files cimport file_paths, shared_tree, tree_entry
from finegrain.replay.image cimport fill_run, image

# Columns of steps.
cdef struct steps:
    const uint8_t* op
    const uint32_t* user_ns             # NULL: no user time
    const uint64_t* arg0
    const uint64_t* arg1
    const uint32_t* arg2

# A process that is alive when a builder starts.
cdef struct live_process:
    int32_t number
    int32_t parent                      # index of its parent among the live ones of the builder; -1: the reaper
    int32_t inherits                    # 1: made by a FORK step of the past; 2: by a VFORK, and has yet to exec
    int64_t past                        # steps of its past: from here
    int64_t past_end
    int64_t step                        # where it then goes on in the program
    int64_t pause_ns                    # after so much time off the CPU
    int64_t user_ns                     # and this much user time

# The first process of a part of the program, which a builder draws when a random number is below `upto`.
cdef struct part_root:
    int32_t number
    uint64_t upto                       # in 2**32; ascending

# A further thread of a process that is alive when a builder starts.
cdef struct live_thread:
    int64_t live                        # index of the process among all live ones
    int64_t list                        # its steps, from here on; as of a process
    int64_t step                        # the list's end: it has ended already
    int64_t pause_ns
    int64_t user_ns

# How far the threads of a process have come: the next step of each, in order of their lists, the process's own first.
cdef struct progress:
    int64_t count
    int64_t next[1]                     # [count]; NEVER once a list has come to its end

# What a thread is to run.
cdef struct thread_plan:
    proc* p
    int64_t list
    int64_t step
    ps_t pause
    ps_t user

# A pipe that is there when a builder starts.
cdef struct live_pipe:
    int32_t number
    uint32_t bytes                      # in it
    uint32_t holders[2]                 # processes that have its read end, its write end
    pipepair* pipe

cdef struct builder:
    int32_t number
    image* files                        # its own, and those that it shares
    int64_t fill_first                  # the files of its own
    int64_t fill_last
    int64_t share_first                 # the part of the files that all share which this builder fills
    int64_t share_last
    int64_t tree_first                  # what is in its file system
    int64_t tree_last
    tmpfs_mount* mount                  # that; NULL: the program has no file calls
    vnode** covered                     # [nshared] directories in whose place there are shared ones
    int64_t live_first                  # its live processes
    int64_t live_last
    int64_t pipe_first                  # its pipes
    int64_t pipe_last
    int64_t age_pages                   # free memory that it mixes before the replay
    uint64_t seed
    int32_t root                        # the process that is its part's first, in the part that it is in
    proc* reaper

# machine.proc's replay.  All constant while it runs, but for the last group.
cdef struct replay_state:
    steps program
    ps_t user_ps                        # how long the machine takes for a nanosecond of the program's user time
    steps past
    const int64_t* first_step           # of each list, and the end
    const int64_t* thread_first         # of each process, and the end: the lists of its further threads
    live_thread* threads
    int64_t nthreads
    const int32_t* map_file
    const int64_t* map_page
    const uint8_t* map_prot
    const uint8_t* map_flags
    const int64_t* file_pages
    const int32_t* file_path            # NULL: the program has no file calls; -1: no call names the file
    const uint8_t* file_shared
    file_paths paths
    tree_entry* entries
    shared_tree* shared
    int64_t nshared
    part_root* roots                    # of each part
    live_process* live
    live_pipe* pipes
    fill_run* runs
    builder* builders
    int64_t nbuilders
    image* images                       # each builder's, and the last one: what all share
    int64_t nimages
    lockmgr turn                        # whose turn it is to put its past in place
    mtx lock                            # guards what follows
    int64_t filled                      # builders whose part of an image is filled
    bint planted                        # the shared trees are
    int64_t arrived                     # live processes that are ready to start
    int64_t nlive
    int64_t left                        # builders that have ended
    ps_t start                          # when the replay begins; 0: not all are ready yet
