// cuBLAS by plain loops, for float32 and float64: the functions that CuPy and minibert call for matrix products.
// Matrices are stored column by column, as cuBLAS has it. A float32 product is added up in float32, and its factors
// are rounded to TF32 or bfloat16 where that is asked for. Anything else answers "not supported", or "invalid value".
#include <cmath>
#include <cstdio>
#include <cstring>

#include "shared.h"

enum Status { OK = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum Type { FLOAT32 = 0, FLOAT64 = 1 };          // cudaDataType_t
enum Compute { FAST_16BF = 75, FAST_TF32 = 77 }; // cublasComputeType_t
enum { TF32_MATH = 3 };                          // cublasMath_t
enum Dropped { NOTHING = 0, BY_TF32 = 13, BY_BFLOAT16 = 16 };  // of the 23 bits after the point of a float32 factor
struct Handle {
    intptr_t stream;
    int math;
};

struct Matrix {
    intptr_t address;
    int rows, columns, leading;  // as stored
    long long stride;            // from one matrix of a stack to the next, in numbers
    bool transposed;
};

struct Product {  // C = alpha op(A) op(B) + beta C
    int m, n, k, batch;
    double alpha, beta;
    Dropped dropped;
    Matrix a, b, c;
};

static float rounded(float x, Dropped dropped) {  // to the nearest, ties to even
    if (!dropped || std::isnan(x)) return x;
    uint32_t bits, last = 1u << dropped;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + last / 2 - 1 + (bits / last & 1)) & -last;
    memcpy(&x, &bits, sizeof x);
    return x;
}

template <class T> static T element(const Matrix& matrix, int batch, int row, int column, Dropped dropped) {
    size_t i = matrix.transposed ? column + size_t(row) * matrix.leading : row + size_t(column) * matrix.leading;
    T x = ((const T*)matrix.address)[batch * matrix.stride + i];
    return dropped ? T(rounded(float(x), dropped)) : x;
}

template <class T> static int multiply(const Product& p) {
    for (int batch = 0; batch < p.batch; batch++)
        for (int column = 0; column < p.n; column++)
            for (int row = 0; row < p.m; row++) {
                T sum = 0;
                for (int i = 0; i < p.k; i++)
                    sum += element<T>(p.a, batch, row, i, p.dropped) * element<T>(p.b, batch, i, column, p.dropped);
                T* c = (T*)p.c.address + batch * p.c.stride + row + size_t(column) * p.c.leading;
                *c = T(p.alpha) * sum + (p.beta ? T(p.beta) * *c : T(0));  // beta 0: c may be anything, even NaN
            }
    return OK;
}

static bool fits(const Matrix& matrix, int batch, size_t width) {
    size_t numbers = (batch - 1) * matrix.stride + size_t(matrix.columns - 1) * matrix.leading + matrix.rows;
    return matrix.leading >= matrix.rows && on_device(matrix.address, numbers * width);
}

static bool fits(const Product& p, size_t width) {
    return p.m > 0 && p.n > 0 && p.k > 0 && p.batch > 0 && fits(p.a, p.batch, width) && fits(p.b, p.batch, width) &&
           fits(p.c, p.batch, width);
}

static void count(const Product& p, Type type) {
    char line[120];
    snprintf(line, sizeof line, "gemm %s%s %c%c m=%d n=%d k=%d batch=%d", type == FLOAT64 ? "float64" : "float32",
             p.dropped == BY_TF32 ? " as tf32" : p.dropped ? " as bfloat16" : "", p.a.transposed ? 'T' : 'N', p.b.transposed ? 'T' : 'N', p.m, p.n, p.k, p.batch);
    note(line);
    stand_in_counters.gemms++;
}

static int submit_product(const Handle* handle, const Product& p, Type type) {
    size_t width = type == FLOAT64 ? 8 : 4;
    if (!fits(p, width)) return INVALID_VALUE;
    count(p, type);
    return submit(handle->stream, [=] { return type == FLOAT64 ? multiply<double>(p) : multiply<float>(p); });
}

static double number(const void* address, int type) {
    return type == FLOAT64 ? *(const double*)address : *(const float*)address;
}

static Dropped dropped_bits(const Handle* handle, int type, int compute) {
    if (type != FLOAT32) return NOTHING;
    if (compute == FAST_16BF) return BY_BFLOAT16;
    return compute == FAST_TF32 || (handle->math & 3) == TF32_MATH ? BY_TF32 : NOTHING;
}

static Matrix stored(intptr_t address, int rows, int columns, int leading, long long stride, int transposed) {
    if (transposed) return {address, columns, rows, leading, stride, true};
    return {address, rows, columns, leading, stride, false};
}

// A stack whose matrices lie anywhere: a, b and c are lists of addresses, on the device.
template <typename T>
static int scattered(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha, const intptr_t* a,
                     int leading_a, const intptr_t* b, int leading_b, const void* beta, const intptr_t* c,
                     int leading_c, int batch) {
    const Type type = sizeof(T) == 8 ? FLOAT64 : FLOAT32;
    Product one = {m, n, k, 1, number(alpha, type), number(beta, type), dropped_bits(handle, type, 0),
                   stored(0, m, k, leading_a, 0, ta), stored(0, k, n, leading_b, 0, tb),
                   stored(0, m, n, leading_c, 0, 0)};
    count(one, type);
    return submit(handle->stream, [=]() mutable {
        for (int i = 0; i < batch; i++) {
            one.a.address = a[i], one.b.address = b[i], one.c.address = c[i];
            if (!fits(one, sizeof(T))) return int(INVALID_VALUE);
            multiply<T>(one);
        }
        return int(OK);
    });
}

extern "C" {
int cublasCreate_v2(Handle** handle) { return *handle = new Handle{}, OK; }
int cublasDestroy_v2(Handle* handle) { return delete handle, OK; }
int cublasGetVersion_v2(Handle*, int* version) { return *version = 130000, OK; }
int cublasSetStream_v2(Handle* handle, intptr_t stream) { return handle->stream = stream, OK; }
int cublasGetStream_v2(Handle* handle, intptr_t* stream) { return *stream = handle->stream, OK; }
int cublasSetMathMode(Handle* handle, int math) { return handle->math = math, OK; }
int cublasGetMathMode(Handle* handle, int* math) { return *math = handle->math, OK; }
int cublasSetPointerMode_v2(Handle*, int on_device) { return on_device ? NOT_SUPPORTED : OK; }
int cublasGetPointerMode_v2(Handle*, int* on_device) { return *on_device = 0, OK; }
int cublasSetWorkspace_v2(Handle*, intptr_t workspace, size_t bytes) {
    return on_device(workspace, bytes) ? OK : INVALID_VALUE;
}

int cublasGemmStridedBatchedEx(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha, intptr_t a,
                               int type_a, int leading_a, long long stride_a, intptr_t b, int type_b, int leading_b,
                               long long stride_b, const void* beta, intptr_t c, int type_c, int leading_c,
                               long long stride_c, int batch, int compute, int) {
    if (type_a != type_b || type_a != type_c || (type_a != FLOAT32 && type_a != FLOAT64)) return NOT_SUPPORTED;
    Product product = {m, n, k, batch, number(alpha, type_a), number(beta, type_a),
                       dropped_bits(handle, type_a, compute),
                       stored(a, m, k, leading_a, stride_a, ta), stored(b, k, n, leading_b, stride_b, tb),
                       stored(c, m, n, leading_c, stride_c, 0)};
    return submit_product(handle, product, Type(type_a));
}

int cublasGemmEx(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha, intptr_t a, int type_a,
                 int leading_a, intptr_t b, int type_b, int leading_b, const void* beta, intptr_t c, int type_c,
                 int leading_c, int compute, int algorithm) {
    return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, type_a, leading_a, 0, b, type_b, leading_b, 0,
                                      beta, c, type_c, leading_c, 0, 1, compute, algorithm);
}

int cublasSgemmBatched(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha, const intptr_t* a,
                       int leading_a, const intptr_t* b, int leading_b, const void* beta, const intptr_t* c,
                       int leading_c, int batch) {
    return scattered<float>(handle, ta, tb, m, n, k, alpha, a, leading_a, b, leading_b, beta, c, leading_c, batch);
}

int cublasDgemmBatched(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha, const intptr_t* a,
                       int leading_a, const intptr_t* b, int leading_b, const void* beta, const intptr_t* c,
                       int leading_c, int batch) {
    return scattered<double>(handle, ta, tb, m, n, k, alpha, a, leading_a, b, leading_b, beta, c, leading_c, batch);
}
}
