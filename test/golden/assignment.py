"""Makes assignment.json: an independent MurmurHash3 x86 32 over bytes, after Austin Appleby's MurmurHash3.cpp.

python3 test/golden/assignment.py > test/golden/assignment.json   (Python 3.11, standard library)
"""
import json
import struct


def murmur3_x86_32(data: bytes, seed: int = 0) -> int:
    mask, h = 0xFFFFFFFF, seed
    rotl = lambda x, r: ((x << r) | (x >> (32 - r))) & mask
    body = len(data) // 4 * 4
    for (k,) in struct.iter_unpack('<I', data[:body]):
        k = rotl(k * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
        h = (rotl(h ^ k, 13) * 5 + 0xE6546B64) & mask
    tail = data[body:]
    if tail:
        k = int.from_bytes(tail, 'little')
        h ^= rotl(k * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
    h ^= len(data)
    h = (h ^ (h >> 16)) * 0x85EBCA6B & mask
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & mask
    return h ^ (h >> 16)


# Published values of the reference implementation, so that the script above is checked, too.
KNOWN = {'': 0, 'hello': 0x248BFA47, 'hello, world': 0x149BBB7F, 'The quick brown fox jumps over the lazy dog': 0x2E4FF723}
for text, value in KNOWN.items():
    assert murmur3_x86_32(text.encode()) == value, text

texts = [*KNOWN, 'a', 'ab', 'abc', 'abcd', 'abcde', 'é', 'naïve café', '日本語', '🐦 serin', 'x' * 255, 'ü' * 33]
salts = ['rollout/late-arrival/2', 'rollout/late-arrival/3', 'ملف']
units = ['user-1', 'user-2', '42', 'AA|2001-06-01|ORD', 'Zoë', '鳥', '']
print(
    json.dumps(
        {
            'hashes': [{'text': t, 'hash': murmur3_x86_32(t.encode())} for t in texts],
            'buckets': [
                {'salt': s, 'unit': u, 'bucket': murmur3_x86_32(f'{s}\x1f{u}'.encode()) % 10_000} for s in salts for u in units
            ],
        },
        indent=1,
        ensure_ascii=False,
    )
)
