// Cross-entropy with its gradient: minibert.ops.loss.

// (1) p = softmax(logits)  (2) surprise = -ln p[label], 0 where there is no label
extern "C" __global__ void cross_entropy(const float* logits, const long long* labels, float* p, float* surprise,
                                         int classes, long long ignore) {
    long long row = blockIdx.x * (long long)classes, label = labels[blockIdx.x];
    float largest = NEGATIVE_INFINITY, total = 0.0f;
    for (int v = threadIdx.x; v < classes; v += blockDim.x) largest = fmaxf(largest, logits[row + v]);
    largest = block_max(largest);
    for (int v = threadIdx.x; v < classes; v += blockDim.x) {
        p[row + v] = expf(logits[row + v] - largest);
        total += p[row + v];
    }
    total = block_sum(total);
    for (int v = threadIdx.x; v < classes; v += blockDim.x) p[row + v] /= total;
    if (threadIdx.x == 0) surprise[blockIdx.x] = label == ignore ? 0.0f : logf(total) + largest - logits[row + label];
}

// loss = sum(surprise) / count, by one block
extern "C" __global__ void mean_surprise(const float* surprise, const float* count, float* loss, long long n) {
    float sum = 0.0f;
    for (long long i = threadIdx.x; i < n; i += blockDim.x) sum += surprise[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *loss = sum / fmaxf(*count, 1.0f);
}

// (2'-1') dlogits = dloss (p - onehot(label)) / count, and 0 where there is no label
extern "C" __global__ void cross_entropy_backward(const float* dloss, const float* p, const long long* labels,
                                                  const float* count, float* dlogits, int classes, long long ignore) {
    long long row = blockIdx.x * (long long)classes, label = labels[blockIdx.x];
    float scale = label == ignore ? 0.0f : *dloss / fmaxf(*count, 1.0f);
    for (int v = threadIdx.x; v < classes; v += blockDim.x)
        dlogits[row + v] = (p[row + v] - (v == label ? 1.0f : 0.0f)) * scale;
}
