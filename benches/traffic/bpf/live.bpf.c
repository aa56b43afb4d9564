// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The sender in the kernel: run by BPF_PROG_TEST_RUN with live frames, it numbers each frame, stamps it with the moment, and
 * sends it out of an interface. Frames are recycled, so what changes is written every time. One CPU runs it at a time.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

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

const volatile __u32 out; /* interface, in the namespace of the caller */
__u64 next;		  /* number of the next frame */

static __always_inline __u64 mix(__u64 word, __u64 field)
{
	word = (word ^ field) * 0x9e3779b97f4a7c15ULL;
	return word ^ word >> 29;
}

SEC("xdp")
int live(struct xdp_md *frame)
{
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	struct stamp *stamp = data + 14; /* untagged */

	if ((void *)(stamp + 1) > end)
		return XDP_DROP;
	stamp->number = next++;
	stamp->due = bpf_ktime_get_ns();
	stamp->check = mix(mix((__u64)stamp->stream << 16 | stamp->flags, stamp->number), stamp->due) >> 32;
	stamp->arrived = 0;
	return bpf_redirect(out, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
