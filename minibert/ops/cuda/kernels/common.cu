// What every kernel uses. Kernels compute in float32; an array is given by the address of its first number, stored
// row by row. A row kernel has one block for each row; a flat kernel strides over all numbers.
#define NEGATIVE_INFINITY __int_as_float((int)0xff800000u)
#define FOR_EACH(i, n) \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, all = (n); i < all; \
         i += gridDim.x * (long long)blockDim.x)

__device__ inline float add_up(float a, float b) { return a + b; }
__device__ inline float larger(float a, float b) { return fmaxf(a, b); }

// The sum (or the largest) of `v` over all threads of the block, in every thread.
template <float (*combine)(float, float)> __device__ float over_block(float v, float neutral) {
    __shared__ float of_warp[32];
    for (int lanes = 16; lanes; lanes >>= 1) v = combine(v, __shfl_xor_sync(0xffffffffu, v, lanes));
    __syncthreads();  // nobody may still be reading what an earlier call left
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
    __syncthreads();
    v = threadIdx.x % 32 < blockDim.x / 32 ? of_warp[threadIdx.x % 32] : neutral;
    for (int lanes = 16; lanes; lanes >>= 1) v = combine(v, __shfl_xor_sync(0xffffffffu, v, lanes));
    return v;
}
__device__ inline float block_sum(float v) { return over_block<add_up>(v, 0.0f); }
__device__ inline float block_max(float v) { return over_block<larger>(v, NEGATIVE_INFINITY); }
