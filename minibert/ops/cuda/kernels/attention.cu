// The softmax inside attention, with its scale, mask and dropout: minibert.ops.attention, formulas (2) and (2').

// p = softmax(scores scale), 0 where the mask forbids; dropped = p keep survivors. A row is one query of one head, and
// the mask may be broadcast: its strides (in numbers) for example, head and query are those given, its last axis is
// dense or, with stride_key 0, a single number. keep may be 0 (no dropout), and so may mask.
extern "C" __global__ void masked_softmax(const float* scores, const bool* mask, const bool* keep, float* p,
                                          float* dropped, int heads, int queries, int keys, float scale, float survivors,
                                          long long stride_example, long long stride_head, long long stride_query,
                                          int stride_key) {
    long long row = blockIdx.x, example = row / queries / heads, head = row / queries % heads, query = row % queries;
    scores += row * keys;
    p += row * keys;
    if (mask) mask += example * stride_example + head * stride_head + query * stride_query;
    float largest = NEGATIVE_INFINITY;
    for (int s = threadIdx.x; s < keys; s += blockDim.x)
        if (!mask || mask[s * (long long)stride_key]) largest = fmaxf(largest, scores[s] * scale);
    largest = block_max(largest);
    float total = 0.0f;
    for (int s = threadIdx.x; s < keys; s += blockDim.x) {
        bool looks = !mask || mask[s * (long long)stride_key];
        float e = looks ? expf(scores[s] * scale - largest) : 0.0f;  // a query that may look nowhere: all 0
        p[s] = e;
        total += e;
    }
    total = block_sum(total);
    float share = total > 0.0f ? 1.0f / total : 0.0f;
    for (int s = threadIdx.x; s < keys; s += blockDim.x) {
        p[s] *= share;
        if (keep) dropped[row * keys + s] = keep[row * keys + s] ? p[s] * survivors : 0.0f;
    }
}

// dscores = p (dp - sum(dp p)), where dp = ddropped keep survivors
extern "C" __global__ void masked_softmax_backward(const float* ddropped, const float* p, const bool* keep,
                                                   float* dscores, int keys, float survivors) {
    long long start = blockIdx.x * (long long)keys;
    float sum = 0.0f;
    for (int s = threadIdx.x; s < keys; s += blockDim.x) {
        float dp = !keep ? ddropped[start + s] : keep[start + s] ? ddropped[start + s] * survivors : 0.0f;
        sum += dp * p[start + s];
    }
    sum = block_sum(sum);
    for (int s = threadIdx.x; s < keys; s += blockDim.x) {
        float dp = !keep ? ddropped[start + s] : keep[start + s] ? ddropped[start + s] * survivors : 0.0f;
        dscores[start + s] = p[start + s] * (dp - sum);
    }
}
