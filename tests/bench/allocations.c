/* Counts what the interpreter asks of its allocators, for objects and for their buffers: a hook before each. */
#include <Python.h>

static PyMemAllocatorEx before[2];
static const PyMemAllocatorDomain domains[2] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
static unsigned long count;

static void *take(void *ctx, size_t size) {
    PyMemAllocatorEx *next = ctx;
    count++;
    return next->malloc(next->ctx, size);
}

static void *take_empty(void *ctx, size_t items, size_t size) {
    PyMemAllocatorEx *next = ctx;
    count++;
    return next->calloc(next->ctx, items, size);
}

static void *change(void *ctx, void *at, size_t size) {
    PyMemAllocatorEx *next = ctx;
    count++;
    return next->realloc(next->ctx, at, size);
}

static void give_back(void *ctx, void *at) {
    PyMemAllocatorEx *next = ctx;
    next->free(next->ctx, at);
}

void begin(void) {
    for (int i = 0; i < 2; i++) {
        PyMem_GetAllocator(domains[i], &before[i]);
        PyMemAllocatorEx hook = {&before[i], take, take_empty, change, give_back};
        PyMem_SetAllocator(domains[i], &hook);
    }
    count = 0;
}

unsigned long end(void) {
    unsigned long found = count;
    for (int i = 0; i < 2; i++) PyMem_SetAllocator(domains[i], &before[i]);
    return found;
}
