/* Puts an interface into VLAN 5: what leaves gets the tag, what comes in loses it. Works on kernels without VLAN
   interfaces, and leaves super-frames whole. */
typedef unsigned int u32;
static long (*const vlan_push)(void *skb, unsigned short proto, unsigned short tci) = (void *)18;
static long (*const vlan_pop)(void *skb) = (void *)19;

/* Of struct __sk_buff (linux/bpf.h), what is needed. */
struct frame {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci;
};

__attribute__((section("push"), used)) int tag_push(struct frame *frame)
{
	return vlan_push(frame, 0x0081 /* 802.1Q in network order */, 5) ? 2 /* drop */ : 0;
}

__attribute__((section("pop"), used)) int tag_pop(struct frame *frame)
{
	if (!frame->vlan_present || frame->vlan_tci != 5)
		return 2;
	return vlan_pop(frame) ? 2 : 0;
}

char licence_of_program[] __attribute__((section("license"), used)) = "GPL";
