"""Names as they are shown, and as they are compared.

A lock's name comes from a file that anyone may have made: nothing in it may reach a terminal, a table
or a spreadsheet as anything but text.
"""

import re
import unicodedata

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&@]|://|www\.)")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """The text with every character that is not visible as itself written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() and not unicodedata.combining(char)
        else f"\\x{ord(char):02x}"
        if ord(char) < 256
        else f"\\u{{{ord(char):x}}}"
        for char in text
    )


def markdown(text: str) -> str:
    """The text for a cell of a markdown table: no mark-up, no HTML, no column of its own."""
    return (
        _MARKDOWN.sub(r"\\\1", printable(text))
        .replace("\\<", "&lt;")
        .replace("\\>", "&gt;")
        .replace("\\&", "&amp;")
    )


def csv_cell(text: str) -> str:
    """The text for a cell of a CSV file that a spreadsheet may open: never a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


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


def lock_name(lock_class: str | None, lock: str | None) -> str:
    """How a lock is called in every table: class:name."""
    if lock is None:
        return lock_class or "?"
    return f"{lock_class}:{lock}" if lock_class else lock


def _blanks(lock_class: str | None, lock: str) -> str:
    return " ".join(lock_name(lock_class, lock).split()).casefold()


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
