// The end of a training step, on one array of all parameters: minibert.optim. Nothing here waits for the host: rates
// and counts are read from the device.

// of_block[b] = sum of g^2 over what block b reads
extern "C" __global__ void square_sums(const float* g, float* of_block, long long n) {
    float sum = 0.0f;
    FOR_EACH(i, n) sum += g[i] * g[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) of_block[blockIdx.x] = sum;
}

__device__ inline bool finite(float x) { return x - x == 0.0f; }

// norm = sqrt(sum of of_block); clip = min(1, longest / norm), by one block.  A norm that is not a number, or longer than
// *limit, or a loss that is not a number, halts the training: clip is -1, by which adamw knows to leave everything alone.
extern "C" __global__ void norm_and_clip(const float* of_block, int blocks, float longest, const float* limit,
                                         const float* losses, int count, float* norm, float* clip, int* halted) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) sum += of_block[i];
    sum = sqrtf(block_sum(sum));
    if (threadIdx.x == 0) {
        bool sound = finite(sum) && sum <= *limit;
        for (int i = 0; i < count; i++) sound = sound && finite(losses[i]);
        if (!sound) *halted = 1;
        *norm = sum;
        *clip = *halted ? -1.0f : sum > longest ? longest / sum : 1.0f;
    }
}

// (1) m = b1 m + (1 - b1) g  (2) v = b2 v + (1 - b2) g^2  (3) w = w - lr decay w, for the first `decayed` numbers
// (4) w = w - lr m / correction1 / (sqrt(v / correction2) + eps). rates = (lr, correction1, correction2, clip); nothing
// is done where clip is below 0.
extern "C" __global__ void adamw(float* w, const float* g, float* m, float* v, const float* rates, long long n,
                                 long long decayed, float b1, float b2, float eps, float decay) {
    float lr = rates[0], correction1 = rates[1], correction2 = rates[2], clip = rates[3];
    if (clip < 0.0f) return;
    FOR_EACH(i, n) {
        float gradient = g[i] * clip;
        float first = b1 * m[i] + (1.0f - b1) * gradient;
        float second = b2 * v[i] + (1.0f - b2) * gradient * gradient;
        float weight = i < decayed ? w[i] * (1.0f - lr * decay) : w[i];
        m[i] = first;
        v[i] = second;
        w[i] = weight - lr * (first / correction1) / (sqrtf(second / correction2) + eps);
    }
}
