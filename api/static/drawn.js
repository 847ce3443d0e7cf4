// When all that was asked of the graphics processor is on the canvas: a slow one is busy for seconds after the last call.
const LOOK_MS = 50;

export async function drawn(gl) {
  const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
  gl.flush();
  do await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  while (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED);
  gl.deleteSync(fence);
}
