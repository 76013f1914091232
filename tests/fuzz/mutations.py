"""Ways to break bytes: as a cable, a disk, an editor and an attacker would."""

from __future__ import annotations

import random
import re
import struct

_WORDS = [
    *(b"", b"-1", b"0", b"1", b"2", b"9" * 5000, b"-", b"NaN", b"inf", b"1e999", b"0x10", b"\xc2\xb2", b"\x00"),
    *(b"=HYPERLINK(1)", b"+cmd|' /C calc'!A0", b"@SUM(1)", b"../../etc/passwd", b"/etc/passwd", b"C:\\x", b'"', b"'"),
    *(
        b"\xe2\x80\xaegpj.exe",
        b"a" * 4096,
        b"\r",
        b"\n",
        b",",
        b"\t",
        b";",
        b"{",
        b"[" * 3000,
        b"null",
        b"\xef\xbb\xbf",
    ),
    *(b"e\xcc\x81", b"\xc3\xa9", b"\xff", b"true", b"train", b"\xf0\x9f\x98\x80", b"1.5", b"\xd9\xa1"),
]
_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]


def mutate(content: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """``content`` broken in one to four ways; pieces of ``other`` may end up in it."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        content = rng.choice(_WAYS)(content, rng, other)
    return content


def _flip(content: bytes, rng: random.Random, _: bytes) -> bytes:
    broken = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20)) if broken else 0):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def _edit_end(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """Headers lie at the beginning, tables of contents and footers at the end."""
    broken = bytearray(content)
    for _ in range(rng.choice((1, 2, 6)) if broken else 0):
        near = rng.randrange(min(len(broken), rng.choice((8, 64, 600))))
        broken[near if rng.random() < 0.5 else -1 - near] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(broken)


def _number(content: bytes, rng: random.Random, _: bytes) -> bytes:
    size = rng.choice("BHIQ")
    packed = struct.pack(rng.choice("<>") + size, rng.choice(_NUMBERS) % 2 ** (8 * struct.calcsize(f"<{size}")))
    at = rng.randrange(max(1, len(content)))
    return content[:at] + packed + content[at + len(packed) :]


def _cut(content: bytes, rng: random.Random, _: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] if rng.random() < 0.7 else content[at:]


def _remove(content: bytes, rng: random.Random, _: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.choice((1, 4, 100)) :]


def _splice(content: bytes, rng: random.Random, other: bytes) -> bytes:
    source = other if other and rng.random() < 0.5 else content
    start, at = rng.randrange(len(source) + 1), rng.randrange(len(content) + 1)
    return content[:at] + source[start : start + rng.choice((1, 16, 500))] + content[at:]


def _zero(content: bytes, rng: random.Random, _: bytes) -> bytes:
    at, length = rng.randrange(len(content) + 1), rng.choice((1, 8, 512))
    return content[:at] + bytes(len(content[at : at + length])) + content[at + length :]


def _word(content: bytes, rng: random.Random, _: bytes) -> bytes:
    """One field of a table, or what looks like one, becomes another."""
    found = [match.span() for match in re.finditer(rb"[\w.\-]+", content[:20_000])]
    start, end = rng.choice(found) if found else (0, 0)
    return content[:start] + rng.choice(_WORDS) + content[end:]


def _line(content: bytes, rng: random.Random, _: bytes) -> bytes:
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at : at + 1] = rng.choice(([], [lines[at]] * 2, [b""], [lines[at][::-1]]))
    return b"\n".join(lines)


_WAYS = (_flip, _edit_end, _number, _cut, _remove, _splice, _zero, _word, _word, _line)
