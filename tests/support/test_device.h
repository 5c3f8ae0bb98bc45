/* tests/support/test_device.h: on which device the tests compute. The same test programs run once per device: on the
 * CPU, on the emulated CUDA device, and on a card where there is one (tests/CMakeLists.txt). */
#ifndef RS_TESTS_TEST_DEVICE_H
#define RS_TESTS_TEST_DEVICE_H

/* As --device takes it: ROPESCOPE_TEST_DEVICE, or "cpu". */
const char *rs_test_device(void);
/* Ends the program with 77 (skipped) when ROPESCOPE_TEST_DEVICE names a device that this machine has not; the reason
 * goes to stderr. For the first line of main. With ROPESCOPE_TEST_DEVICE_REQUIRED set that is a failure. */
void rs_test_device_or_skip(void);
/* Every how manieth of its cases a test tries: 1, and 4 on an emulated device under the sanitizers (RS_SANITIZED),
 * which computes several hundred times slower. There it is about memory, and the op tests go every way of every kernel;
 * the numbers of all cases are held on the emulated device without sanitizers. */
int rs_test_stride(void);

#endif
