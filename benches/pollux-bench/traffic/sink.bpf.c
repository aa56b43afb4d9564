/* Drops every frame: the cheapest sink there is. */
__attribute__((section("xdp"), used)) int sink(void *frame)
{
	return 1; /* XDP_DROP */
}

char licence_of_program[] __attribute__((section("license"), used)) = "GPL";
