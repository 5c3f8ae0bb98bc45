/* tests/support/cuda_host/emulated_tensor.cpp: a warp's matrices and copies into shared memory beside the work. A
 * fragment lies over the lanes as the PTX ISA has it (mma.m16n8k16, ldmatrix.m8n8): lane = 4 row + pair of columns. */
#include "emulated_device.h"

#include "cuda_bf16.h"

#include <vector>

using namespace emulated;

namespace {

/* What each lane brings to a meeting of its warp. Two sets in turns: a lane that is through may bring the next one's
 * while others still read this one's, but it waits there until they have come. */
struct bundle {
    unsigned word[6];
    const void *row;
};
bundle brought[2][THREADS_MOST / 32][32];

struct turn {
    uint64_t block;
    unsigned number;
};
turn turns[THREADS_MOST];

/* Lays down what the running lane brings, waits for its warp, and returns what all its lanes brought. */
const bundle *meet(const char *what, const bundle &mine, const char *file, int line) {
    turn &t = turns[rs_emulated_thread];
    if (t.block != rs_emulated_block) t = {rs_emulated_block, 0};
    bundle *all = brought[t.number++ % 2][rs_emulated_thread / 32];
    all[rs_emulated_lane()] = mine;
    rs_emulated_meet(RS_EMULATED_SYNC, what, 0xFFFFFFFFU, 0, 0, file, line);
    return all;
}

/* Entry i (0 or 1) of a word with two bfloat16 numbers; the lower half is the first. */
float half_of(unsigned word, int i) {
    return __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(word >> 16 * i)));
}

/* A [16, 16]: row r, column c stands in lane 4 (r % 8) + c % 8 / 2, word r / 8 + 2 (c / 8). */
float a_at(const bundle *all, int r, int c) {
    return half_of(all[4 * (r % 8) + c % 8 / 2].word[r / 8 + 2 * (c / 8)], c % 2);
}

/* B [16, 8]: row k, column n stands in lane 4 n + k % 8 / 2, word k / 8 (words 4 and 5 of a bundle). */
float b_at(const bundle *all, int k, int n) { return half_of(all[4 * n + k % 8 / 2].word[4 + k / 8], k % 2); }

/* Copies that a thread has asked for and not waited for. They arrive as late as they may, so that whoever reads too
 * early reads what stood there before; in a shuffled order every other one arrives at once, where somebody may still
 * be reading. */
struct copy {
    void *to;
    const void *from; /* NULL: zeros */
    int group;
};
struct pending {
    uint64_t block;
    int groups; /* closed so far */
    std::vector<copy> copies;
};
pending waiting[THREADS_MOST];

void arrive(const copy &c) {
    if (c.from) memcpy(c.to, c.from, 16);
    else memset(c.to, 0, 16);
}

pending &mine() {
    pending &p = waiting[rs_emulated_thread];
    if (p.block != rs_emulated_block) {
        p.block = rs_emulated_block;
        p.groups = 0;
        p.copies.clear();
    }
    return p;
}

void check(const void *p, const char *file, int line) {
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) rs_emulated_check_aligned(p, 16, file, line);
}

} // namespace

void rs_emulated_mma(float d[4], const unsigned a[4], unsigned b0, unsigned b1, const char *file, int line) {
    const bundle *all = meet("mma", {{a[0], a[1], a[2], a[3], b0, b1}, nullptr}, file, line);
    int lane = rs_emulated_lane();
    for (int i = 0; i < 4; i++) {
        int r = lane / 4 + 8 * (i / 2), n = 2 * (lane % 4) + i % 2;
        for (int k = 0; k < 16; k++) d[i] += a_at(all, r, k) * b_at(all, k, n);
    }
}

void rs_emulated_load_matrices(unsigned r[4], const void *row, bool transposed, const char *file, int line) {
    check(row, file, line);
    if (!in_shared(row, 16)) rs_emulated_misuse("ldmatrix", "the row lies in no shared array", file, line);
    const bundle *all = meet("ldmatrix", {{0}, row}, file, line);
    int lane = rs_emulated_lane(), i = lane / 4, j = 2 * (lane % 4);
    for (int m = 0; m < 4; m++) {
        unsigned short x[2];
        for (int half = 0; half < 2; half++) {
            int at = transposed ? j + half : i, column = transposed ? i : j + half;
            memcpy(&x[half], static_cast<const char *>(all[8 * m + at].row) + 2 * column, 2);
        }
        r[m] = x[0] | static_cast<unsigned>(x[1]) << 16;
    }
}

void rs_emulated_copy_async(void *to, const void *from, bool there, const char *file, int line) {
    check(to, file, line);
    check(from, file, line);
    if (!in_shared(to, 16)) rs_emulated_misuse("cp.async", "the target lies in no shared array", file, line);
    pending &p = mine();
    copy c = {to, there ? from : nullptr, p.groups};
    if (seed() > 0 && draw(2) == 0) arrive(c);
    else p.copies.push_back(c);
}

void rs_emulated_copies_commit() { mine().groups++; }

void rs_emulated_copies_wait(int open) {
    pending &p = mine();
    size_t left = 0;
    for (const copy &c : p.copies) {
        if (c.group >= p.groups - open) p.copies[left++] = c;
        else arrive(c);
    }
    p.copies.resize(left);
}
