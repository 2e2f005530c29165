// Layer normalisation, alone and at the end of a sub-layer: minibert.ops.normalization, minibert.ops.add_norm.

// (1) s = x + (h + bias) keep survivors  (2) y = gamma xhat + beta, xhat = (s - mean(s)) rstd. bias and keep may be 0,
// and so may h, with bias.
extern "C" __global__ void add_norm(const float* h, const float* bias, const float* x, const bool* keep,
                                    const float* gamma, const float* beta, float* y, float* xhat, float* rstd, int d,
                                    float survivors, float eps) {
    long long row = blockIdx.x * (long long)d;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float s = x[row + i];
        if (h && (!keep || keep[row + i])) {
            float z = bias ? h[row + i] + bias[i] : h[row + i];
            s += keep ? z * survivors : z;
        }
        xhat[row + i] = s;
        sum += s;
    }
    float mean = block_sum(sum) / d;
    sum = 0.0f;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float centred = xhat[row + i] - mean;
        sum += centred * centred;
    }
    float r = 1.0f / sqrtf(block_sum(sum) / d + eps);
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float normal = (xhat[row + i] - mean) * r;
        xhat[row + i] = normal;
        y[row + i] = normal * gamma[i] + beta[i];
    }
    if (threadIdx.x == 0) rstd[blockIdx.x] = r;
}

// ds = rstd (dxhat - mean(dxhat) - xhat mean(dxhat xhat)), dxhat = dy gamma; dh = ds keep survivors, unless keep is 0
extern "C" __global__ void add_norm_backward(const float* dy, const float* xhat, const float* rstd, const float* gamma,
                                             const bool* keep, float* ds, float* dh, int d, float survivors) {
    long long row = blockIdx.x * (long long)d;
    float shift = 0.0f, scale = 0.0f;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float dxhat = dy[row + i] * gamma[i];
        shift += dxhat;
        scale += dxhat * xhat[row + i];
    }
    shift = block_sum(shift) / d;
    scale = block_sum(scale) / d;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float s = rstd[blockIdx.x] * (dy[row + i] * gamma[i] - shift - xhat[row + i] * scale);
        ds[row + i] = s;
        if (keep) dh[row + i] = keep[row + i] ? s * survivors : 0.0f;
    }
}

// dgamma = sum of dy xhat over the rows of a chunk, dbeta of dy; a block of 32 x 8 threads for 32 columns of each chunk.
// xhat and dgamma may be 0: dbeta alone is the gradient of a bias.  dgamma and dbeta have a row for each chunk.
extern "C" __global__ void column_sums(const float* dy, const float* xhat, float* dgamma, float* dbeta, long long rows,
                                       int d, int chunk) {
    __shared__ float of_gamma[8][33], of_beta[8][33];
    int column = blockIdx.x * 32 + threadIdx.x;
    long long begin = blockIdx.y * (long long)chunk, end = begin + chunk < rows ? begin + chunk : rows;
    float gamma = 0.0f, beta = 0.0f;
    if (column < d)
        for (long long r = begin + threadIdx.y; r < end; r += 8) {
            beta += dy[r * d + column];
            if (xhat) gamma += dy[r * d + column] * xhat[r * d + column];
        }
    of_gamma[threadIdx.y][threadIdx.x] = gamma;
    of_beta[threadIdx.y][threadIdx.x] = beta;
    __syncthreads();
    if (threadIdx.y == 0 && column < d) {
        for (int k = 1; k < 8; k++) {
            gamma += of_gamma[k][threadIdx.x];
            beta += of_beta[k][threadIdx.x];
        }
        if (xhat) dgamma[blockIdx.y * d + column] = gamma;
        dbeta[blockIdx.y * d + column] = beta;
    }
}
