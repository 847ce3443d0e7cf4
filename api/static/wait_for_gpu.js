// A slow graphics processor is busy for seconds after the last call to it.
const CHECK_INTERVAL_MS = 50;

// Wait until everything that was sent to the graphics processor is on the canvas.
export async function waitForGpu(gl) {
  const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
  gl.flush();

  do {
    await new Promise(resolve => setTimeout(resolve, CHECK_INTERVAL_MS));
  } while (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED);

  gl.deleteSync(fence);
}
