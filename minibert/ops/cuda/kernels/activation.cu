// Activations, number by number: minibert.ops.activation, minibert.ops.linear_gelu.

// (1) cdf = Phi(x)  (2) y = x cdf
extern "C" __global__ void gelu(const float* x, float* y, float* cdf, long long n) {
    FOR_EACH(i, n) {
        cdf[i] = 0.5f * (1.0f + erff(x[i] * 0.7071067811865476f));
        y[i] = x[i] * cdf[i];
    }
}

// (2') dx = dy (cdf + x pdf)  (1') pdf = exp(-x^2 / 2) / sqrt(2 pi)
extern "C" __global__ void gelu_backward(const float* dy, const float* x, const float* cdf, float* dx, long long n) {
    FOR_EACH(i, n) dx[i] = dy[i] * (cdf[i] + x[i] * 0.3989422804014327f * expf(-0.5f * x[i] * x[i]));
}

// y = x + bias, with one bias for each of d columns; y may be x.
extern "C" __global__ void add_bias(const float* x, const float* bias, float* y, long long n, int d) {
    FOR_EACH(i, n) y[i] = x[i] + bias[i % d];
}

// Bias and GELU at once, between the two layers of a feed-forward network: (1) h = x + bias, kept for backward
// (2) cdf = Phi(h), y = h cdf; h may be x.
extern "C" __global__ void bias_gelu(const float* x, const float* bias, float* h, float* y, float* cdf, long long n,
                                     int d) {
    FOR_EACH(i, n) {
        float z = x[i] + bias[i % d];
        h[i] = z;
        cdf[i] = 0.5f * (1.0f + erff(z * 0.7071067811865476f));
        y[i] = z * cdf[i];
    }
}
