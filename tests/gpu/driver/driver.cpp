// A CUDA device made of host memory, for the real CuPy on a machine without a GPU.
//
// The functions runtime_* and driver_* have the names and C signatures of those that CuPy's Cython modules export to
// each other (cupy_backends.cuda.api.runtime and .driver, CuPy 14.2); install.py puts them in their places. There is
// one device; work runs the moment it is asked for, so races between streams are not seen. A kernel is a function of
// a shared object that g++ made (../cuda_on_cpu/simulator.py).
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <set>
#include <sys/mman.h>
#include <vector>

#include "shared.h"

typedef int Skip;  // an argument that Cython adds to every function that Python can call too
enum Status { INVALID_VALUE = 1, INVALID_DEVICE = 101, LAUNCH_FAILURE = 700, CAPTURE_UNSUPPORTED = 900,
              CAPTURE_INVALIDATED = 901, CAPTURE_IMPLICIT = 906 };
extern "C" Counters stand_in_counters;
Counters stand_in_counters;

// ------------------------------------------------------------------------------------------------ journal and errors
static std::vector<std::string> journal;
static bool journal_is_kept;

void note(const std::string& event) {
    if (journal_is_kept) journal.push_back(event);
}

extern "C" void stand_in_keep_journal(int keep) {
    journal_is_kept = keep;
    journal.clear();
}

extern "C" PyObject* stand_in_journal() {
    PyObject* events = PyList_New(journal.size());
    for (size_t i = 0; i < journal.size(); i++) PyList_SET_ITEM(events, i, PyUnicode_FromString(journal[i].c_str()));
    return events;
}

static PyObject* none() { Py_RETURN_NONE; }

// Raises CuPy's CUDARuntimeError, with the reason after CUDA's own words.
static PyObject* fail(int status, const std::string& reason) {
    PyObject* runtime = PyImport_ImportModule("cupy_backends.cuda.api.runtime");
    PyObject* type = runtime ? PyObject_GetAttrString(runtime, "CUDARuntimeError") : nullptr;
    PyObject* error = type ? PyObject_CallFunction(type, "i", status) : nullptr;
    if (error) {
        PyObject* arguments = Py_BuildValue("(N)", PyUnicode_FromFormat("%S [%s]", error, reason.c_str()));
        PyObject_SetAttrString(error, "args", arguments);
        PyErr_SetObject(type, error);
        Py_DECREF(arguments);
    }
    Py_XDECREF(error);
    Py_XDECREF(type);
    Py_XDECREF(runtime);
    return nullptr;
}

static std::string why;  // the last work failed

static PyObject* done(int status) { return status ? fail(status, why) : none(); }

// ------------------------------------------------------------------------------------------------------------ memory
// Every allocation ends at a page that cannot be touched, and holds 0xFF (NaN, -1) until somebody writes it.
struct Block {
    size_t size, mapped;
    char* base;
    bool on_host;
};
static std::map<intptr_t, Block> blocks;

static intptr_t allocate(size_t bytes, bool on_host) {
    const size_t page = 4096;
    bytes = std::max<size_t>(bytes, 1);
    size_t usable = (bytes + page - 1) / page * page;
    size_t alignment = std::min<size_t>(bytes & -bytes, 16);  // the last number ends at the guard
    char* base = (char*)mmap(nullptr, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(base + usable, page, PROT_NONE);
    memset(base, 0xFF, usable);
    intptr_t address = (intptr_t)(base + usable - bytes) / alignment * alignment;
    blocks[address] = {bytes, usable + page, base, on_host};
    return address;
}

static bool release(intptr_t address) {
    auto block = blocks.find(address);
    if (block == blocks.end()) return false;
    munmap(block->second.base, block->second.mapped);
    blocks.erase(block);
    return true;
}

// The block that holds all these bytes, if one does.
static const Block* owner(intptr_t address, size_t bytes) {
    auto next = blocks.upper_bound(address);
    if (next == blocks.begin()) return nullptr;
    auto& [start, block] = *--next;
    return address + bytes <= start + block.size ? &block : nullptr;
}

bool on_device(intptr_t address, size_t bytes) {
    const Block* block = owner(address, bytes);
    return block && !block->on_host;
}

// ------------------------------------------------------------------------------------------------ streams and graphs
typedef std::vector<Work> Graph;
static intptr_t next_id = 0x1000;  // beyond CUDA's own streams, 0 (legacy), 1 and 2
static intptr_t captured;          // the stream that is being captured, or 0
static bool capture_is_broken;
static std::set<intptr_t> nonblocking;  // streams that do not wait for the legacy one
static std::unique_ptr<Graph> recording;
static std::map<intptr_t, std::unique_ptr<Graph>> graphs;

int submit(intptr_t stream, Work work) {
    if (!captured) return work();
    if (stream == captured) {
        recording->push_back(std::move(work));
        return 0;
    }
    if (stream > 2 || nonblocking.count(captured)) return work();
    capture_is_broken = true;
    why = "work on the default stream while a stream that waits for it is captured";
    return CAPTURE_IMPLICIT;
}

static PyObject* synchronise(const char* what, bool breaks_capture) {
    stand_in_counters.syncs++;
    note(std::string("sync ") + what);
    if (!breaks_capture) return none();
    capture_is_broken = true;
    return fail(CAPTURE_UNSUPPORTED, std::string("waiting for a ") + what + " inside a capture");
}

static double milliseconds() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
static std::map<intptr_t, double> event_times;

static int copy(intptr_t to, intptr_t from, size_t bytes, int kind, intptr_t stream) {
    const char* names[] = {"h2h", "h2d", "d2h", "d2d"};  // cudaMemcpyKind; 4 is "as the addresses say"
    int real = on_device(to, bytes) + 2 * on_device(from, bytes);
    if (kind != 4 && kind != real) {
        why = "a copy whose addresses are not where it says, or beyond their allocations";
        return INVALID_VALUE;
    }
    note(std::string("copy ") + names[real] + " " + std::to_string(bytes));
    stand_in_counters.h2d += real == 1;
    stand_in_counters.d2h += real == 2;
    stand_in_counters.d2d += real == 3;
    return submit(stream, [=] { return memcpy((void*)to, (void*)from, bytes), 0; });
}

static int fill(intptr_t address, int value, size_t bytes, intptr_t stream) {
    if (!on_device(address, bytes)) {
        why = "memset outside device memory";
        return INVALID_VALUE;
    }
    note("memset " + std::to_string(bytes));
    return submit(stream, [=] { return memset((void*)address, value, bytes), 0; });
}

// ----------------------------------------------------------------------------------------------------------- kernels
struct Kernel {
    int (*run)(const unsigned* grid, const unsigned* block, size_t shared_bytes, void** arguments);
    const char* (*message)();
    std::vector<size_t> sizes;  // of the parameters, in bytes
    std::string name;
};

// "*f4;i4;V40;" -> 8, 4, 40
static std::vector<size_t> parameter_sizes(const std::string& signature) {
    std::vector<size_t> sizes;
    for (size_t start = 0, end; start < signature.size(); start = end + 1) {
        end = signature.find(';', start);
        bool pointer = signature[start] == '*';
        sizes.push_back(pointer ? sizeof(void*) : std::stoul(signature.substr(start + 1, end - start - 1)));
    }
    return sizes;
}

static Kernel* find_kernel(void* library, const std::string& name) {
    void* run = dlsym(library, ("launch_" + name).c_str());
    if (!run) return nullptr;
    auto signature = (const char* (*)())dlsym(library, ("signature_" + name).c_str());
    return new Kernel{(decltype(Kernel::run))run, (decltype(Kernel::message))dlsym(library, "simulator_message"),
                      parameter_sizes(signature()), name};
}

static int run_kernel(const Kernel* kernel, const std::vector<unsigned>& shape, size_t shared_bytes,
                      const std::vector<std::string>& values) {
    std::vector<void*> arguments;
    for (const std::string& value : values) arguments.push_back((void*)value.data());
    if (kernel->run(&shape[0], &shape[3], shared_bytes, arguments.data()) == 0) return 0;
    why = "kernel " + kernel->name + ": " + kernel->message();
    return LAUNCH_FAILURE;
}

// ------------------------------------------------------------------------------ the functions that CuPy's modules call
extern "C" {
int runtime_getDevice(Skip) { return 0; }
int runtime_getDeviceCount(Skip) { return 1; }
int runtime_driverGetVersion(Skip) { return 13000; }
PyObject* runtime_setDevice(int device, Skip) { return device ? fail(INVALID_DEVICE, "there is one device") : none(); }
PyObject* runtime__ensure_context() { return none(); }

int runtime_deviceGetAttribute(int attribute, int, Skip) {  // cudaDeviceAttr, of an H100
    static const std::map<int, int> attributes = {{1, 1024}, {5, 2147483647}, {8, 49152}, {10, 32}, {16, 132},
                                                  {75, 9},   {76, 0},         {97, 232448}};
    auto found = attributes.find(attribute);
    return found == attributes.end() ? 0 : found->second;
}

PyObject* runtime_getDeviceProperties(int, Skip) {
    return Py_BuildValue("{s:y,s:i}", "name", "host memory", "warpSize", 32);
}
PyObject* runtime_deviceSynchronize(Skip) { return synchronise("device", captured != 0); }

intptr_t runtime_malloc(size_t bytes, Skip) {
    stand_in_counters.allocations++;
    return allocate(bytes, false);
}
PyObject* runtime_free(intptr_t address, Skip) {
    return release(address) ? none() : fail(INVALID_VALUE, "free of memory that is not allocated");
}
intptr_t runtime_hostAlloc(size_t bytes, unsigned, Skip) { return allocate(bytes, true); }
PyObject* runtime_freeHost(intptr_t address, Skip) { return runtime_free(address, 0); }
int runtime_pointerGetMemoryType(intptr_t address, Skip) {  // cudaMemoryType
    const Block* block = owner(address, 0);
    return !block ? 0 : block->on_host ? 1 : 2;
}
PyObject* runtime_memGetInfo(Skip) { return Py_BuildValue("(LL)", 1LL << 33, 1LL << 34); }

PyObject* runtime_memcpy(intptr_t to, intptr_t from, size_t bytes, int kind, Skip) {
    return done(copy(to, from, bytes, kind, 0));
}
PyObject* runtime_memcpyAsync(intptr_t to, intptr_t from, size_t bytes, int kind, intptr_t stream, Skip) {
    return done(copy(to, from, bytes, kind, stream));
}
PyObject* runtime_memset(intptr_t address, int value, size_t bytes, Skip) {
    return done(fill(address, value, bytes, 0));
}
PyObject* runtime_memsetAsync(intptr_t address, int value, size_t bytes, intptr_t stream, Skip) {
    return done(fill(address, value, bytes, stream));
}

intptr_t runtime_streamCreateWithFlags(unsigned flags, Skip) {
    if (flags & 1) nonblocking.insert(next_id);
    return next_id++;
}
intptr_t runtime_streamCreate(Skip) { return runtime_streamCreateWithFlags(0, 0); }
intptr_t runtime_streamCreateWithPriority(unsigned flags, int, Skip) { return runtime_streamCreateWithFlags(flags, 0); }
unsigned runtime_streamGetFlags(intptr_t stream, Skip) { return nonblocking.count(stream); }
int runtime_streamGetPriority(intptr_t, Skip) { return 0; }
PyObject* runtime_streamQuery(intptr_t, Skip) { return PyLong_FromLong(0); }
PyObject* runtime_streamDestroy(intptr_t, Skip) { return none(); }
PyObject* runtime_streamSynchronize(intptr_t stream, Skip) {
    return synchronise("stream", captured && stream == captured);
}
PyObject* runtime_streamWaitEvent(intptr_t, intptr_t, Skip, void*) { return none(); }
int runtime_streamIsCapturing(intptr_t stream, Skip) { return captured && stream == captured; }

PyObject* runtime_streamBeginCapture(intptr_t stream, Skip, void*) {
    if (stream <= 2) return fail(CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
    captured = stream;
    capture_is_broken = false;
    recording.reset(new Graph);
    return none();
}
intptr_t runtime_streamEndCapture(intptr_t stream, Skip) {
    if (!captured || stream != captured) return (intptr_t)fail(INVALID_VALUE, "this stream is not captured");
    captured = 0;
    if (capture_is_broken) return (intptr_t)fail(CAPTURE_INVALIDATED, "what was asked for before broke the capture");
    graphs[next_id] = std::move(recording);
    return next_id++;
}
intptr_t runtime_graphInstantiate(intptr_t graph, Skip) { return graph; }
PyObject* runtime_graphDestroy(intptr_t, Skip) { return none(); }
PyObject* runtime_graphUpload(intptr_t, intptr_t, Skip) { return none(); }
PyObject* runtime_graphExecDestroy(intptr_t graph, Skip) {
    graphs.erase(graph);
    return none();
}
PyObject* runtime_graphLaunch(intptr_t graph, intptr_t, Skip) {
    stand_in_counters.graph_launches++;
    note("graph");
    for (const Work& work : *graphs.at(graph))
        if (int status = work()) return done(status);
    return none();
}

intptr_t runtime_eventCreate(Skip) { return next_id++; }
intptr_t runtime_eventCreateWithFlags(unsigned, Skip) { return next_id++; }
PyObject* runtime_eventQuery(intptr_t, Skip) { return PyLong_FromLong(0); }
PyObject* runtime_eventDestroy(intptr_t, Skip) { return none(); }
PyObject* runtime_eventRecord(intptr_t event, intptr_t, Skip) {
    event_times[event] = milliseconds();
    return none();
}
float runtime_eventElapsedTime(intptr_t from, intptr_t to, Skip) { return float(event_times[to] - event_times[from]); }
PyObject* runtime_eventSynchronize(intptr_t, Skip) { return synchronise("event", false); }

intptr_t driver_moduleLoadData(PyObject* path, Skip) {
    void* library = dlopen(PyBytes_AsString(path), RTLD_NOW | RTLD_LOCAL);
    return library ? (intptr_t)library : (intptr_t)fail(INVALID_VALUE, dlerror());
}
PyObject* driver_moduleUnload(intptr_t, Skip) { return none(); }
intptr_t driver_moduleGetFunction(intptr_t library, PyObject* name, Skip) {
    std::string wanted = PyUnicode_AsUTF8(name);
    Kernel* kernel = find_kernel((void*)library, wanted);
    return kernel ? (intptr_t)kernel : (intptr_t)fail(INVALID_VALUE, "there is no kernel " + wanted);
}
int driver_funcGetAttribute(int, intptr_t, Skip) { return 1024; }
int driver_occupancyMaxActiveBlocksPerMultiprocessor(intptr_t, int, size_t, Skip) { return 2; }

PyObject* driver_launchKernel(intptr_t function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                              unsigned bz, unsigned shared_bytes, intptr_t stream, intptr_t parameters, intptr_t,
                              Skip) {
    const Kernel* kernel = (Kernel*)function;
    stand_in_counters.launches++;
    note("kernel " + kernel->name);
    std::vector<std::string> values;  // as they are now: what a graph replays too
    for (size_t i = 0; i < kernel->sizes.size(); i++) values.emplace_back(((char**)parameters)[i], kernel->sizes[i]);
    std::vector<unsigned> shape = {gx, gy, gz, bx, by, bz};
    return done(submit(stream, [=] { return run_kernel(kernel, shape, shared_bytes, values); }));
}
}
