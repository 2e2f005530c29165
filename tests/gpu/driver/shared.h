// What the driver and cuBLAS share: what is counted, and when work runs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct Counters {  // in the order of record.py
    long long launches, gemms, h2d, d2h, d2d, syncs, allocations, graph_launches;
};
extern "C" Counters stand_in_counters;

void note(const std::string& event);  // in the journal, when somebody keeps one
bool on_device(intptr_t address, size_t bytes);

// Work, which returns 0 or an error. It runs at once, or, while its stream is captured, whenever the graph is launched.
typedef std::function<int()> Work;
int submit(intptr_t stream, Work work);
