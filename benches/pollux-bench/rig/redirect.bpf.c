/* Sends every frame out of the interface whose index is TARGET: a cross-connect in the kernel that reads no frame. */
static long (*redirect)(unsigned int ifindex, unsigned long long flags) = (void *)23; /* BPF_FUNC_redirect */

__attribute__((section("xdp"), used)) int to_the_other(void *frame)
{
	return redirect(TARGET, 0);
}

char licence_of_program[] __attribute__((section("license"), used)) = "GPL";
