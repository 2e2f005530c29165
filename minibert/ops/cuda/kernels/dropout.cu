// Which numbers survive dropout: minibert.ops.dropout.keep_mask, bit for bit.
// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3": Philox4x64-10.

struct Words {
    unsigned long long w[4];
};

__device__ Words philox(unsigned long long block, unsigned long long step, unsigned long long seed,
                        unsigned long long site) {
    Words c = {{block + 1, step, 0, 0}};  // NumPy's generator counts up before it draws
    for (int round = 0; round < 10; round++) {
        unsigned long long high0 = __umul64hi(0xD2E7470EE14C6C93ull, c.w[0]), low0 = 0xD2E7470EE14C6C93ull * c.w[0];
        unsigned long long high1 = __umul64hi(0xCA5A826395121157ull, c.w[2]), low1 = 0xCA5A826395121157ull * c.w[2];
        c = {{high1 ^ c.w[1] ^ seed, low1, high0 ^ c.w[3] ^ site, low0}};
        seed += 0x9E3779B97F4A7C15ull;
        site += 0xBB67AE8584CAA73Bull;
    }
    return c;
}

// keep[i] for the n numbers from place `start` on; a thread draws the sixteen of one block of the random stream.
extern "C" __global__ void keep_mask(bool* keep, long long n, unsigned long long seed, const unsigned long long* step,
                                     unsigned long long site, long long start, unsigned threshold) {
    FOR_EACH(block, (start + n + 15) / 16 - start / 16) {
        Words words = philox(start / 16 + block, *step, seed, site);
        for (int k = 0; k < 16; k++) {
            long long i = (start / 16 + block) * 16 + k - start;
            if (i >= 0 && i < n) keep[i] = (words.w[k / 4] >> 16 * (k % 4) & 0xffff) >= threshold;
        }
    }
}

// The same for rows of a larger array: row r of keep (n, d) begins at place start + places[r].
extern "C" __global__ void keep_rows(bool* keep, const long long* places, long long n, int d, unsigned long long seed,
                                     const unsigned long long* step, unsigned long long site, long long start,
                                     unsigned threshold) {
    FOR_EACH(i, n * d) {
        long long place = start + places[i / d] + i % d;
        Words words = philox(place / 16, *step, seed, site);
        keep[i] = (words.w[place % 16 / 4] >> 16 * (place % 4) & 0xffff) >= threshold;
    }
}

// y = x keep scale: forward and backward of dropout alike.
extern "C" __global__ void drop(const float* x, const bool* keep, float* y, long long n, float scale) {
    FOR_EACH(i, n) y[i] = keep[i] ? x[i] * scale : 0.0f;
}
