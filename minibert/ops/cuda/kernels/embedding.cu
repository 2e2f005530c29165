// The gradient of a table that rows were looked up in: minibert.ops.embedding, (1').

// dtable[ids[n]] += dy[n], in whatever order the device takes: fast, and not the same bits each time.
extern "C" __global__ void embedding_backward(const float* dy, const long long* ids, float* dtable, long long n,
                                              int d) {
    FOR_EACH(i, n * d) atomicAdd(dtable + ids[i / d] * d + i % d, dy[i]);
}

// The same sums in the order of n: the same bits each time. One block for each row of the table looks for its own ids.
extern "C" __global__ void embedding_backward_in_order(const float* dy, const long long* ids, float* dtable,
                                                       long long n, int d) {
    __shared__ bool mine[1024];
    for (long long start = 0; start < n; start += blockDim.x) {
        long long here = start + threadIdx.x;
        mine[threadIdx.x] = here < n && ids[here] == blockIdx.x;
        if (!__syncthreads_or(mine[threadIdx.x])) continue;
        for (int i = threadIdx.x; i < d; i += blockDim.x)
            for (int k = 0; k < blockDim.x; k++)
                if (mine[k]) dtable[blockIdx.x * (long long)d + i] += dy[(start + k) * d + i];
        __syncthreads();
    }
}
