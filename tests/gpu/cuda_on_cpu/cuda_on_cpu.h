// Included before a .cu file, so that g++ can build its kernels and the CPU can run them.
//
// Every CUDA thread of a block is a fiber (ucontext), and the fibers take turns on one thread of the CPU: barriers,
// warp shuffles and votes really meet, and what does not meet is a deadlock with a place. Blocks run one after the
// other. Memory that nobody has written holds 0xFF in every byte: NaN, or -1. Guard pages around arrays (simulator.py)
// turn an access outside into a message that names block and thread.
//
// The order in which threads run is chosen by `schedule`: a kernel that lacks a barrier gives other numbers under
// another schedule. WAITS is 0 for a source without barriers, shuffles and votes: its threads are plain calls.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>                    // float overloads in the global namespace, as in CUDA
#include <random>
#include <string>
#include <sys/mman.h>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

// ---------------------------------------------------------------------------------------------- words of the language
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __constant__ static
#define __shared__ static __attribute__((section("shared_memory")))  // blocks take turns, so one copy is enough
extern "C" char __start_shared_memory[] __attribute__((weak)), __stop_shared_memory[] __attribute__((weak));

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
static dim3 gridDim, blockDim;
static uint3 blockIdx, threadIdx;
static const int warpSize = 32;

namespace simulator {

enum State { RUNNING, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };
enum Schedule { FORWARD, REVERSE, SHUFFLED, GREEDY };  // greedy: one warp runs as far ahead of the others as it can
const size_t STACK = 128 << 10;

struct Fiber {
    ucontext_t context;  // where it begins
    jmp_buf place;       // where it goes on: jumps, unlike swapcontext, do without calls of the system
    bool begun;
    uint3 thread;
    State state;
    int line;       // of the barrier it waits at
    unsigned mask;  // of the lanes it waits for
    int parity;     // which of the two exchange buffers comes next
};

static std::vector<Fiber> fibers;
static std::vector<uint64_t> exchanged[2];  // by parity: what each lane holds out
static char* stacks;
static size_t stacks_for;
static jmp_buf scheduler;
static int current;
static void (*body)(void*);
static void* body_argument;
static char* dynamic_shared;
static char message[512];
static sigjmp_buf give_up;
static Schedule schedule;
static std::mt19937 generator;

template <class... T> [[noreturn]] static void fail(const char* format, T... parts) {
    snprintf(message, sizeof message, format, parts...);
    siglongjmp(give_up, 1);
}

static uint3 thread_index(size_t t) {
    return {unsigned(t % blockDim.x), unsigned(t / blockDim.x % blockDim.y), unsigned(t / (blockDim.x * blockDim.y))};
}

// ------------------------------------------------------------------------------------------------ fibers and barriers
static void leave_fiber() {
    if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

// A fiber serves block after block.
static void enter_fiber() {
    for (;;) {
        body(body_argument);
        fibers[current].state = DONE;
        leave_fiber();
    }
}

static void wait_at(State barrier, int line, unsigned mask = ~0u) {
    if (!WAITS) fail("line %d: a thread waits in a kernel that was built without barriers", line);
    Fiber& f = fibers[current];
    f.state = barrier;
    f.line = line;
    f.mask = mask;
    leave_fiber();
}

static void resume(size_t t) {
    Fiber& f = fibers[t];
    current = int(t);
    threadIdx = f.thread;
    if (_setjmp(scheduler)) return;
    if (f.begun) _longjmp(f.place, 1);
    f.begun = true;
    setcontext(&f.context);
}

// Lets those lanes of a warp go on whose whole mask has arrived.
static bool release_warp(size_t first) {
    bool released = false;
    size_t end = std::min(first + 32, fibers.size());
    for (size_t t = first; t < end; t++) {
        if (fibers[t].state != AT_WARP_BARRIER) continue;
        unsigned mask = fibers[t].mask;
        bool all = true;
        for (size_t u = first; u < end; u++)
            if (mask >> (u - first) & 1) all &= fibers[u].state == AT_WARP_BARRIER && fibers[u].mask == mask;
        if (!all) continue;
        for (size_t u = first; u < end; u++)
            if (mask >> (u - first) & 1) fibers[u].state = RUNNING;
        released = true;
    }
    return released;
}

static bool run_warp(size_t first) {
    bool ran = false;
    for (size_t t = first; t < std::min(first + 32, fibers.size()); t++)
        if (fibers[t].state == RUNNING) {
            resume(t);
            ran = true;
        }
    return ran;
}

static bool run_once(const std::vector<size_t>& order) {
    bool ran = false;
    if (schedule == GREEDY) {
        std::vector<size_t> warps;
        for (size_t t : order)
            if (t % 32 == 0) warps.push_back(t);
        for (size_t warp : warps)
            do ran |= run_warp(warp);
            while (release_warp(warp));
        return ran;
    }
    for (size_t t : order)
        if (fibers[t].state == RUNNING) {
            resume(t);
            ran = true;
        }
    for (size_t warp = 0; warp < fibers.size(); warp += 32) ran |= release_warp(warp);
    return ran;
}

// True when every thread that is left waits at the block's barrier, and all at the same one.
static bool release_block() {
    int line = -1;
    for (const Fiber& f : fibers) {
        if (f.state == DONE) fail("a thread of block (%u,%u,%u) returned before a __syncthreads() of others",
                                  blockIdx.x, blockIdx.y, blockIdx.z);
        if (f.state != AT_BLOCK_BARRIER) return false;
        if (line >= 0 && line != f.line)
            fail("threads of block (%u,%u,%u) wait at different __syncthreads(), lines %d and %d", blockIdx.x, blockIdx.y,
                 blockIdx.z, line, f.line);
        line = f.line;
    }
    for (Fiber& f : fibers) f.state = RUNNING;
    return true;
}

static void make_fibers(size_t n) {
    if (stacks_for < n) {
        stacks = (char*)mmap(nullptr, n * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        stacks_for = n;
    }
    fibers.resize(n);
    for (size_t t = 0; t < n; t++) {
        Fiber& f = fibers[t];
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = stacks + t * STACK;
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        makecontext(&f.context, enter_fiber, 0);
        f.begun = false;
        f.thread = thread_index(t);
    }
}

static void run_block(const std::vector<size_t>& order) {
    memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
    if (!WAITS) {
        for (size_t t : order) {
            threadIdx = thread_index(t);
            body(body_argument);
        }
        return;
    }
    size_t n = order.size();
    exchanged[0].assign(n, 0);
    exchanged[1].assign(n, 0);
    for (Fiber& f : fibers) {
        f.state = RUNNING;
        f.parity = 0;
    }
    for (;;) {
        bool ran = run_once(order);
        if (std::all_of(fibers.begin(), fibers.end(), [](const Fiber& f) { return f.state == DONE; })) return;
        bool waits_for_block = std::any_of(fibers.begin(), fibers.end(), [](const Fiber& f) { return f.state == AT_BLOCK_BARRIER; });
        if (ran || (waits_for_block && release_block())) continue;
        for (const Fiber& f : fibers)
            if (f.state != DONE)
                fail("deadlock in block (%u,%u,%u): thread (%u,%u,%u) waits for ever at line %d, for its %s", blockIdx.x,
                     blockIdx.y, blockIdx.z, f.thread.x, f.thread.y, f.thread.z, f.line,
                     f.state == AT_WARP_BARRIER ? "warp" : "block");
    }
}

// ------------------------------------------------------------------------------------------------ shuffles and votes
static int lane() { return current & 31; }

static void hold_out(uint64_t bits, unsigned mask, int line) {
    Fiber& f = fibers[current];
    if (!(mask >> lane() & 1)) fail("line %d: the calling lane is not in its own mask", line);
    exchanged[f.parity ^= 1][current] = bits;
    wait_at(AT_WARP_BARRIER, line, mask);
}

template <class T> static T exchange(unsigned mask, T value, int from, int line) {
    static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    hold_out(bits, mask, line);
    size_t source = size_t(current & ~31) + from;
    if (source >= fibers.size()) return value;
    if (!(mask >> from & 1)) fail("line %d: a shuffle reads a lane outside its mask", line);
    T other;
    memcpy(&other, &exchanged[fibers[current].parity][source], sizeof other);
    return other;
}

static unsigned ballot(unsigned mask, bool vote, int line) {
    hold_out(vote, mask, line);
    unsigned votes = 0;
    size_t first = current & ~31;
    for (size_t l = 0; l < 32 && first + l < fibers.size(); l++)
        if (mask >> l & 1 && exchanged[fibers[current].parity][first + l]) votes |= 1u << l;
    return votes;
}

static std::vector<char> votes;

static bool block_any(bool vote, int line) {
    votes.resize(fibers.size());
    votes[current] = vote;
    wait_at(AT_BLOCK_BARRIER, line);
    bool any = std::any_of(votes.begin(), votes.end(), [](char v) { return v; });
    wait_at(AT_BLOCK_BARRIER, line);
    return any;
}

static int within(int from, int width) { return from / width == lane() / width && from >= 0 ? from : lane(); }

// ----------------------------------------------------------------------------------------------------------- launches
static void on_fault(int, siginfo_t* info, void*) {
    snprintf(message, sizeof message, "illegal address %p in block (%u,%u,%u) thread (%u,%u,%u)", info->si_addr, blockIdx.x,
             blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    siglongjmp(give_up, 1);
}

static bool run_grid(size_t threads, size_t shared_bytes) {
    std::vector<size_t> order(threads), blocks(size_t(gridDim.x) * gridDim.y * gridDim.z);
    for (size_t i = 0; i < threads; i++) order[i] = schedule == REVERSE ? threads - 1 - i : i;
    for (size_t i = 0; i < blocks.size(); i++) blocks[i] = schedule == REVERSE ? blocks.size() - 1 - i : i;
    bool shuffled = schedule == SHUFFLED || schedule == GREEDY;
    if (shuffled) std::shuffle(blocks.begin(), blocks.end(), generator);
    std::vector<char> memory(shared_bytes + 16);
    if (WAITS) make_fibers(threads);
    if (sigsetjmp(give_up, 1)) return false;
    for (size_t b : blocks) {
        blockIdx = {unsigned(b % gridDim.x), unsigned(b / gridDim.x % gridDim.y), unsigned(b / (size_t(gridDim.x) * gridDim.y))};
        if (shuffled) std::shuffle(order.begin(), order.end(), generator);
        std::fill(memory.begin(), memory.end(), char(0xFF));
        dynamic_shared = (char*)(((uintptr_t)memory.data() + 15) & ~(uintptr_t)15);
        run_block(order);
    }
    return true;
}

// 0 when the kernel ran to its end; otherwise `message` says what happened.
static int launch(const unsigned* grid, const unsigned* block, size_t shared_bytes, void (*function)(void*), void* argument) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = function;
    body_argument = argument;
    size_t threads = size_t(block[0]) * block[1] * block[2];
    if (threads == 0 || threads > 1024 || !grid[0] || !grid[1] || !grid[2]) {
        snprintf(message, sizeof message, "invalid launch: a block of %zu threads, a grid of (%u,%u,%u)", threads, grid[0],
                 grid[1], grid[2]);
        return 1;
    }
    struct sigaction action = {}, segv, bus;
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &segv);
    sigaction(SIGBUS, &action, &bus);
    bool finished = run_grid(threads, shared_bytes);
    sigaction(SIGSEGV, &segv, nullptr);
    sigaction(SIGBUS, &bus, nullptr);
    return finished ? 0 : 1;
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void** arguments;
    template <size_t... I> void run(std::index_sequence<I...>) { kernel(*(A*)arguments[I]...); }
    static void run(void* self) { ((Call*)self)->run(std::index_sequence_for<A...>{}); }
};

template <class... A>
int invoke(void (*kernel)(A...), const unsigned* grid, const unsigned* block, size_t shared_bytes, void** arguments) {
    Call<A...> call{kernel, arguments};
    return launch(grid, block, shared_bytes, &Call<A...>::run, &call);
}

// The parameters of a kernel as NumPy's kind and size: "*f4;i4;" is (float*, int).
template <class T> void describe(std::string& text) {
    using U = std::remove_cv_t<std::remove_pointer_t<T>>;
    if (std::is_pointer_v<T>) text += '*';
    text += std::is_same_v<U, bool>          ? 'b'
            : std::is_floating_point_v<U>    ? 'f'
            : !std::is_integral_v<U>         ? 'V'
            : std::is_signed_v<U>            ? 'i'
                                             : 'u';
    text += std::to_string(sizeof(U)) + ';';
}

template <class... A> const char* signature(void (*)(A...)) {
    static std::string text;
    text.clear();
    (describe<A>(text), ...);
    return text.c_str();
}

}  // namespace simulator

extern "C" const char* simulator_message() { return simulator::message; }
extern "C" void simulator_schedule(int which, unsigned seed) {
    simulator::schedule = simulator::Schedule(which);
    simulator::generator.seed(seed);
}
// The kernel, or instance of a template, that comes after its symbol (and may have commas of its own)
#define SIMULATOR_EXPORT(symbol, ...)                                                                              \
    extern "C" int launch_##symbol(const unsigned* g, const unsigned* b, size_t shared, void** arguments) {        \
        return simulator::invoke(&__VA_ARGS__, g, b, shared, arguments);                                           \
    }                                                                                                              \
    extern "C" const char* signature_##symbol() { return simulator::signature(&__VA_ARGS__); }

// ---------------------------------------------------------------------------------------- functions of the language
#define __syncthreads() simulator::wait_at(simulator::AT_BLOCK_BARRIER, __LINE__)
#define __syncthreads_or(vote) simulator::block_any(vote, __LINE__)
#define __syncwarp() simulator::wait_at(simulator::AT_WARP_BARRIER, __LINE__)
#define __shfl_sync(mask, value, from) simulator::exchange(mask, value, from, __LINE__)
#define __shfl_xor_sync(mask, value, x) simulator::exchange(mask, value, simulator::within(simulator::lane() ^ (x), 32), __LINE__)
#define __shfl_down_sync(mask, value, d) simulator::exchange(mask, value, simulator::within(simulator::lane() + (d), 32), __LINE__)
#define __ballot_sync(mask, vote) simulator::ballot(mask, vote, __LINE__)
#define __any_sync(mask, vote) (simulator::ballot(mask, vote, __LINE__) != 0)

template <class T> T atomicAdd(T* place, T value) {
    T before = *place;
    *place = before + value;
    return before;
}
template <class T> T atomicMax(T* place, T value) {
    T before = *place;
    *place = std::max(before, value);
    return before;
}
template <class T> T atomicCAS(T* place, T expected, T value) {
    T before = *place;
    if (before == expected) *place = value;
    return before;
}
template <class To, class From> To same_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
template <class T> T __ldg(const T* place) { return *place; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __int_as_float(int bits) { return same_bits<float>(bits); }
inline int __float_as_int(float x) { return same_bits<int>(x); }
inline double __longlong_as_double(long long bits) { return same_bits<double>(bits); }
inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
template <class A, class B> constexpr auto min(A a, B b) { return std::min<std::common_type_t<A, B>>(a, b); }
template <class A, class B> constexpr auto max(A a, B b) { return std::max<std::common_type_t<A, B>>(a, b); }
