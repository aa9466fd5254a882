# The locks of the kernel: mutexes, readers-writer locks, shared/exclusive locks; what their waiters wait on; and the
# profile that watches them.  They know threads and words, no page and no pmap.
#
#   mtx     mutex, sleeping or spinning                           blocks on a turnstile; lends priority
#   mtx8    the same mutex in 8 bytes: a word, its identity given by the caller
#   bit2    the same in 2 bits of a generation's word             so does it, though the word does not name its owner
#   rw      readers-writer lock                                   blocks on a turnstile; lends priority to a writer
#   sx      shared/exclusive lock                                 sleeps; may be held across a sleep
#   lockmgr  the lock of a vnode                                  sleeps at once; may be held across a sleep
#   sleepq  msleep, sleep_sx, wakeup: sleeping on an address
#   turnstile  the queues themselves, for what waits without a lock (delayed invalidation)
#   profile    lock names, acquisition points, waits and holds

from finegrain.kernel.locks.bit2 cimport (
    bit2_lock, bit2_owned, bit2_set_value, bit2_trylock, bit2_unlock, bit2_value)
from finegrain.kernel.locks.create cimport locks_create
from finegrain.kernel.locks.lockmgr cimport (
    lockmgr, lockmgr_assert_locked, lockmgr_assert_xlocked, lockmgr_downgrade, lockmgr_init, lockmgr_slock,
    lockmgr_try_slock, lockmgr_try_upgrade, lockmgr_try_xlock, lockmgr_unlock, lockmgr_upgrade, lockmgr_xlock,
    lockmgr_xlocked)
from finegrain.kernel.locks.mtx cimport (
    mtx, mtx_assert_owned, mtx_id, mtx_init, mtx_lock, mtx_lock_spin, mtx_owned, mtx_trylock, mtx_unlock,
    mtx_unlock_spin)
from finegrain.kernel.locks.mtx8 cimport mtx8_lock, mtx8_owned, mtx8_trylock, mtx8_unlock
from finegrain.kernel.locks.profile cimport (
    HISTOGRAM_BUCKETS, LK_BIT2, LK_MTX8, LO_DUPOK, LO_PV_LIST, MAX_LOCK_NAMES, MAX_SITES, lock_class_text, lock_held,
    lock_name, lock_name_count, lock_name_record, lock_name_text, lock_object, lock_profile, lock_profile_reset,
    lock_profile_sum, lock_record, lock_site, lock_site_count, lock_site_text, may_be_waited_for,
    profile_charge_waiters, pv_wait_record)
from finegrain.kernel.locks.rw cimport (
    rw_assert_locked, rw_assert_wlocked, rw_downgrade, rw_id, rw_init, rw_rlock, rw_runlock, rw_try_rlock,
    rw_try_upgrade, rw_try_wlock, rw_wlock, rw_wowned, rw_wunlock, rwlock)
from finegrain.kernel.locks.sleepq cimport msleep, sleep_sx, wakeup
from finegrain.kernel.locks.sx cimport (
    sx, sx_assert_locked, sx_assert_xlocked, sx_downgrade, sx_init, sx_slock, sx_sunlock, sx_try_slock, sx_try_upgrade,
    sx_try_xlock, sx_xlock, sx_xlocked, sx_xunlock)
from finegrain.kernel.locks.turnstile cimport (
    TS_SHARED_QUEUE, TURNSTILE, chain_lock, chain_unlock, turnstile_add, turnstile_block, turnstile_broadcast,
    turnstile_chain, turnstile_chain_of)
