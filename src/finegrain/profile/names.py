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
NAME_RULES = (
    ("case and blanks", _blanks),
    ("words for one class (sleep mutex, mtx: mutex; rwlock: rw; ...)", _class_synonyms),
    ("lockdep's marks and offsets left out (&, #3, /1, ->rlock, +0x10)", _lockdep),
)
CLASS_LEFT_OUT = ("class left out", _no_class)

_OFFSET = re.compile(r"\+0x([0-9a-f]+)(?:/0x[0-9a-f]+)?", re.IGNORECASE)
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm)(?:\.\d+)*")
_LINE = re.compile(r":(\d+)$")


def _no_offset(site: str) -> str:
    """A function without the offset in it, and without what the compiler hung on its name."""
    return _SUFFIX.sub("", _OFFSET.sub("", site))


def no_line(site: str) -> str:
    """The function or the file of a place, without where in it the place is."""
    return _LINE.sub("", _no_offset(site))


def _no_directory(site: str) -> str:
    return no_line(site).rpartition("/")[2]


def ordinal(site: str | None) -> int:
    """Where in its function or file a place is; 0 when that is not told."""
    offset, line = _OFFSET.search(site or ""), _LINE.search(site or "")
    return int(offset[1], 16) if offset else int(line[1]) if line else 0


SITE_RULES = (
    ("offsets and compilers' suffixes left out (+0x20, .isra.0), in their order", _no_offset),
    ("line numbers left out, in their order", no_line),
    ("line numbers and directories left out, in their order", _no_directory),
)
