// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The XDP programs of an AF_XDP port: every frame of an RX queue goes to the socket of that queue.
 *
 *   redirect       any device, native or generic
 *   redirect_vlan  loaded for one device (BPF_F_XDP_DEV_BOUND_ONLY), native only: puts the VLAN tag that the device
 *                  took out of the frame into the 8 bytes below it; without it the tag would be lost, and with it the
 *                  isolation of VLANs
 *
 * A frame without a socket is dropped and counted, never passed to the host's stack: it is the switch's traffic, also
 * while a socket is being replaced. "frags": frames may span buffers (MTU above one page, jumbo).
 *
 * The loader sizes `xsks` to the device's RX queues and loads one of the two programs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* What redirect_vlan leaves below each frame; read in src/pmd/af_xdp/program.rs. */
struct vlan_meta {
	__u16 tci;   /* host order */
	__be16 tpid; /* network order; 0: the device took no tag out */
	__u32 magic; /* tells it from bytes that happen to lie there */
};

#define VLAN_META_MAGIC 0x504c5856 /* "PLXV" */

enum drop {
	DROP_MAP_MISS, /* no socket on this queue */
	DROP_META,     /* the device leaves no room for metadata */
	DROP_COUNT,
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* set by the loader */
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* Weak: where the kernel lacks it, redirect still loads, and redirect_vlan is refused. Since Linux 6.8. */
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *vlan_proto, __u16 *vlan_tci) __ksym __weak;

static __always_inline int drop(enum drop reason)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&drops, &key);

	/* per cpu, and XDP is not reentered on one: no atomic needed */
	if (count)
		*count += 1;
	return XDP_DROP;
}

static __always_inline int to_socket(struct xdp_md *ctx)
{
	int action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP);

	return action == XDP_REDIRECT ? action : drop(DROP_MAP_MISS);
}

SEC("xdp.frags")
int redirect(struct xdp_md *ctx)
{
	return to_socket(ctx);
}

SEC("xdp.frags")
int redirect_vlan(struct xdp_md *ctx)
{
	struct vlan_meta *meta;
	__be16 tpid = 0;
	__u16 tci = 0;

	/* an error (no tag, not supported) may leave anything behind */
	if (bpf_xdp_metadata_rx_vlan_tag(ctx, &tpid, &tci))
		tpid = tci = 0;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		return drop(DROP_META);
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) > (void *)(long)ctx->data)
		return drop(DROP_META);
	meta->tci = tci;
	meta->tpid = tpid;
	meta->magic = VLAN_META_MAGIC;
	return to_socket(ctx);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
