"""What the probes of sampled rows draw, from the run's seed and the tokens of a sequence: written from docs/store.md, not from the
program. Generators: splitmix64 and xoshiro256** (Blackman and Vigna), FNV-1a (Fowler, Noll, Vo)."""

MASK = (1 << 64) - 1
ROWS, KEYS = 32, 4
PERMUTATION, BLOCKS, CELLS = 1, 2, 3


class Random:
    def __init__(self, seed):
        self.s = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & MASK
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
            self.s.append(z ^ (z >> 31))

    def next(self):
        def rotate(x, k):
            return ((x << k) | (x >> (64 - k))) & MASK

        s = self.s
        result = (rotate((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
        return result

    def below(self, n):
        if n <= 1:
            return 0
        reject = (1 << 64) % n
        x = self.next()
        while x < reject:
            x = self.next()
        return x % n


def sequence_seed(seed, tokens):
    h = 0xCBF29CE484222325
    for token in tokens:
        for byte in int(token).to_bytes(4, "little", signed=True):
            h = ((h ^ byte) * 0x100000001B3) & MASK
    return seed ^ h


def rows(seed, tokens):
    """One position from each of 32 equal stretches of 2..T-1."""
    random, able = Random(sequence_seed(seed, tokens)), len(tokens) - 2
    n = min(able, ROWS)
    return [2 + able * i // n + random.below(able * (i + 1) // n - able * i // n) for i in range(n)]


def of_row(seed, tokens, position, what):
    return Random((sequence_seed(seed, tokens) + what * 0x9E3779B97F4A7C15 + position) & MASK)


def permutation(seed, tokens, position, behind):
    """Distance of the key whose content stands at distance 0..behind-1."""
    random, order = of_row(seed, tokens, position, PERMUTATION), list(range(behind))
    for j in range(behind - 1, 0, -1):
        other = random.below(j + 1)
        order[j], order[other] = order[other], order[j]
    return order


def cell_distances(seed, tokens, position, behind):
    random, drawn = of_row(seed, tokens, position, CELLS), []
    while len(drawn) < min(KEYS, behind):
        distance = random.below(behind)
        if distance not in drawn:
            drawn.append(distance)
    return drawn
