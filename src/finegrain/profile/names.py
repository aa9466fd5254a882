"""What locks are called, and when two names are one lock's."""

import re

# Words for one kind of lock, so that `mtx:vm page` meets `sleep mutex:vm page`.
_CLASS_WORDS = {
    "sleep mutex": "mutex",
    "spin mutex": "spinlock",
    "spin lock": "spinlock",
    "mtx": "mutex",
    "adaptive mutex": "mutex",
    "rwlock": "rw",
    "r/w": "rw",
    "rmlock": "rm",
    "lk": "lockmgr",
}


def full_name(lock_class: str | None, lock: str | None) -> str:
    """The name that tells a lock from all others of its profile: class:name."""
    if lock is None:
        return lock_class or "?"
    return f"{lock_class}:{lock}" if lock_class else lock


def _blanks(lock_class: str | None, lock: str) -> str:
    return " ".join(full_name(lock_class, lock).split()).casefold()


def _class_synonyms(lock_class: str | None, lock: str) -> str:
    lock_class = " ".join((lock_class or "").split()).casefold()
    return f"{_CLASS_WORDS.get(lock_class, lock_class)}:{' '.join(lock.split()).casefold()}"


def _lockdep(lock_class: str | None, lock: str) -> str:
    """Lockdep's decorations off: &, (...)->rlock, #3, /1; and the offset of an address."""
    name = " ".join(lock.split()).casefold()
    name = re.sub(r"(?:#\d+)?(?:/\d+)?$", "", name)
    name = re.sub(r"->(?:rlock|wait_lock)$", "", name) if name.startswith("&(") else name
    while re.fullmatch(r"&?\(.*\)", name):
        name = name.removeprefix("&")[1:-1]
    name = re.sub(r"\+0x[0-9a-f]+$", "", name).removeprefix("&")
    return f"{_CLASS_WORDS.get(lock_class or '', lock_class or '')}:{name}"


def _no_class(lock_class: str | None, lock: str) -> str:
    return _lockdep(None, lock)


# In this order, each for the locks that the ones before it left alone.  The texts are printed.
RULES = (
    ("case and blanks", _blanks),
    ("words for one class (sleep mutex, mtx: mutex; rwlock: rw; ...)", _class_synonyms),
    ("lockdep's marks and offsets left out (&, #3, /1, ->rlock, +0x10)", _lockdep),
    ("class left out", _no_class),
)
