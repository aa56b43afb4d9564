// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The XDP program of a station: every frame that arrives goes to the station's AF_XDP socket. A frame that asks for it
 * (FLAG_TIMED) gets the time of its arrival written into its stamp, by the clock the sender used (CLOCK_MONOTONIC): when
 * the station looks does not matter then.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERTYPE 0x88b5 /* "local experimental 1" */
#define MAGIC 0x54584c50 /* "PLXT" */
#define FLAG_TIMED 1

/* src/frame.rs */
struct stamp {
	__u32 magic;
	__u32 check;
	__u16 stream;
	__u16 flags;
	__u64 number;
	__u64 due;
	__u64 arrived;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

static __always_inline void time_at(void *at, void *end)
{
	struct stamp *stamp = at;

	if ((void *)(stamp + 1) <= end && stamp->magic == MAGIC && stamp->flags & FLAG_TIMED)
		stamp->arrived = bpf_ktime_get_ns();
}

SEC("xdp.frags")
int arrive(struct xdp_md *frame)
{
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	__be16 *type = data + 12;

	if (data + 20 <= end) {
		if (*type == bpf_htons(ETHERTYPE))
			time_at(data + 14, end);
		else if (*type == bpf_htons(0x8100) || *type == bpf_htons(0x88a8))
			time_at(data + 18, end);
	}
	return bpf_redirect_map(&sockets, frame->rx_queue_index, XDP_DROP);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
