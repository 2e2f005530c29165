// The gradient of a table that rows were looked up in: minibert.ops.embedding, (1').  No two blocks add to the same
// number, so it is the same bits each time, which atomic additions would not be.

// first[n] = whether no place before n has the id of place n; one block for each n.
extern "C" __global__ void first_of_id(const long long* ids, bool* first) {
    bool before = false;
    for (long long start = 0; start < blockIdx.x && !before; start += blockDim.x) {
        long long n = start + threadIdx.x;
        before = __syncthreads_or(n < blockIdx.x && ids[n] == ids[blockIdx.x]);
    }
    if (threadIdx.x == 0) first[blockIdx.x] = !before;
}

// dtable[ids[n]] += dy[n]: a block of 32 x 8 threads for 32 columns of each id, at the first of its places. A warp looks
// through 32 places at a time.
extern "C" __global__ void embedding_backward(const float* dy, const long long* ids, const bool* first, float* dtable,
                                              long long n, int d) {
    __shared__ float of_warp[8][33];
    if (!first[blockIdx.x]) return;
    long long id = ids[blockIdx.x];
    int column = blockIdx.y * 32 + threadIdx.x;
    float sum = 0.0f;
    for (long long start = blockIdx.x + threadIdx.y * 32; start < n; start += 8 * 32) {
        long long place = start + threadIdx.x;
        unsigned found = __ballot_sync(0xffffffffu, place < n && ids[place] == id);
        for (; found; found &= found - 1)
            if (column < d) sum += dy[(start + __ffs(found) - 1) * d + column];
    }
    of_warp[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < d) {
        for (int k = 1; k < 8; k++) sum += of_warp[k][threadIdx.x];
        dtable[id * d + column] += sum;
    }
}
