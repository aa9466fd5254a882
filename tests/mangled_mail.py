"""What mail programs, web pages and quoting do to a text."""

import html
import quopri
import textwrap

from hypothesis import strategies as st


def wrap(text: str, width: int) -> str:
    """Break lines at blanks, as mail programs do; blanks at a break are lost or left at the line's end."""
    out = []
    for line in text.split("\n"):
        if len(line) <= width:
            out.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip())]
        broken = textwrap.wrap(
            line.strip(), width, initial_indent=indent[: width // 2], drop_whitespace=True,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        out += broken
    return "\n".join(out)


@st.composite
def mangled(draw: st.DrawFn, text: str, *, narrowest: int) -> bytes:
    if draw(st.booleans()):
        text = text.replace("    ", "\t")
    if draw(st.booleans()):
        text = wrap(text, draw(st.integers(narrowest, 120)))
    if draw(st.booleans()):
        text = textwrap.indent(text, draw(st.sampled_from(["  ", "    ", "\t"])))
    if draw(st.booleans()):
        text = f"On Monday somebody wrote:\nroot@host:~# cat it\n{text}\nroot@host:~# \nThe end, says I.\n"
    for mark in draw(st.lists(st.sampled_from(["> ", ">", ">> ", "JB> "]), max_size=3)):
        text = "\n".join(mark + line for line in text.split("\n"))
    how = draw(st.sampled_from(["", "", "html", "qp", "qp unsaid", "crlf"]))
    if how == "html":
        escaped = html.escape(text).replace("\n", draw(st.sampled_from(["\n", "<br>\n"])))
        return f"<html><body><pre>{escaped}</pre></body></html>\n".encode()
    if how.startswith("qp"):
        head = b"Content-Transfer-Encoding: quoted-printable\n\n" if how == "qp" else b""
        return head + quopri.encodestring(text.encode())
    return text.replace("\n", "\r\n").encode() if how == "crlf" else text.encode()
