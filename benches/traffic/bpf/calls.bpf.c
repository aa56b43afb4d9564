// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Counts the system calls of one process. Its number is that of a PID namespace, which is named by device and inode of
 * /proc/PID/ns/pid.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u64 dev, ino;
const volatile __u32 pid;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} count SEC(".maps");

SEC("raw_tp/sys_enter")
int enter(void *call)
{
	struct bpf_pidns_info who = {};
	__u32 first = 0;
	__u64 *calls = bpf_map_lookup_elem(&count, &first);

	if (calls && !bpf_get_ns_current_pid_tgid(dev, ino, &who, sizeof(who)) && who.tgid == pid)
		__sync_fetch_and_add(calls, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
