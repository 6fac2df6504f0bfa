/* The list of devices, as users name them. */
#include <stdio.h>

#include "kernel/device.h"

bool swan_device_at(size_t i, swan_device_summary *out)
{
    swan_device_info info[SWAN_DEVICE_MAX];
    int count = swan_device_list(info);
    if (i >= (size_t)count) return false;
    *out = (swan_device_summary){.memory_bytes = info[i].memory_bytes, .usable = info[i].arch != 0};
    if (info[i].index == SWAN_DEVICE_HOST) snprintf(out->name, sizeof out->name, "cpu");
    else snprintf(out->name, sizeof out->name, "cuda:%d", info[i].index);
    snprintf(out->description, sizeof out->description, "%s", info[i].name);
    return true;
}
