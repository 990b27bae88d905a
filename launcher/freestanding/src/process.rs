//! What the kernel leaves on the stack of a new process.

use core::ffi::{CStr, c_char};

/// Arguments, environment and the auxiliary vector, as the kernel laid them out.
///
/// ```text
/// stack -> argc | argv[0] .. argv[argc-1] | NULL | "K=V" .. | NULL | (type, value) .. | (AT_NULL, 0)
/// ```
#[derive(Clone, Copy)]
pub struct Process {
    /// `argv`, ended by a null pointer.
    args: *const *const c_char,
    /// The environment, ended by a null pointer.
    env: *const *const c_char,
    execfn: Option<&'static CStr>,
    secure: bool,
}

impl Process {
    /// Reads the initial stack of a process.
    ///
    /// # Safety
    ///
    /// `stack` must point to memory laid out as shown at [`Process`] (System V ABI, "Initial Process Stack"),
    /// with C strings behind its pointers, all of it readable and unchanged for the rest of the process.
    pub unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: the layout begins with argc.
        let argc = unsafe { stack.read() };
        // SAFETY: argv follows argc directly.
        let args = unsafe { stack.add(1) }.cast();
        // SAFETY: argv has argc pointers and a null one; then comes the environment.
        let env: *const *const c_char = unsafe { stack.add(1 + argc + 1) }.cast();
        let mut end = env;
        // SAFETY: the environment is ended by a null pointer, and the loop goes no further.
        while !unsafe { end.read() }.is_null() {
            // SAFETY: not yet at the null pointer, so one more pointer follows.
            end = unsafe { end.add(1) };
        }
        // SAFETY: the auxiliary vector follows that null pointer.
        let mut auxiliary: *const [usize; 2] = unsafe { end.add(1) }.cast();
        let mut execfn = None;
        // A kernel that does not say is one not to trust the environment on.
        let mut secure = true;
        loop {
            // SAFETY: the vector is made of pairs up to AT_NULL, and the loop stops there.
            let [kind, value] = unsafe { auxiliary.read() };
            match kind {
                AT_NULL => break,
                AT_SECURE => secure = value != 0,
                // SAFETY: a non-null AT_EXECFN points to a C string that lives as long as the process.
                AT_EXECFN if value != 0 => execfn = Some(unsafe { CStr::from_ptr(value as *const c_char) }),
                _ => {}
            }
            // SAFETY: this pair was not AT_NULL, so another follows.
            auxiliary = unsafe { auxiliary.add(1) };
        }
        Self { args, env, execfn, secure }
    }

    /// The arguments, `argv[0]` first. Whoever started the process may have given none at all.
    pub fn args(&self) -> Strings {
        Strings { next: self.args }
    }

    /// The environment, each entry as it is: usually `NAME=value`, but the kernel checks nothing.
    pub fn env(&self) -> Strings {
        Strings { next: self.env }
    }

    /// The path that was given to `execve`, if the kernel says (`AT_EXECFN`).
    pub fn execfn(&self) -> Option<&'static CStr> {
        self.execfn
    }

    /// Whether the process runs with more rights than its caller has (`AT_SECURE`: set-user-id and the like).
    pub fn secure(&self) -> bool {
        self.secure
    }
}

/// The strings of a null-terminated array of pointers.
#[derive(Clone)]
pub struct Strings {
    /// Invariant: at or before the null pointer of an array from the initial stack.
    next: *const *const c_char,
}

impl Iterator for Strings {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: by the invariant this is a pointer of the array, the null one included.
        let string = unsafe { self.next.read() };
        if string.is_null() {
            return None;
        }
        // SAFETY: that was not the null pointer, so another follows and the invariant holds.
        self.next = unsafe { self.next.add(1) };
        // SAFETY: `Process::from_stack` was promised C strings that never change.
        Some(unsafe { CStr::from_ptr(string) })
    }
}

// <linux/auxvec.h>
const AT_NULL: usize = 0;
const AT_SECURE: usize = 23;
const AT_EXECFN: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;

    /// An initial stack with these contents. Leaked, as a process never loses its own.
    fn process(args: &[&'static CStr], env: &[&'static CStr], auxiliary: &[[usize; 2]]) -> Process {
        let mut stack = vec![args.len()];
        stack.extend(args.iter().map(|s| s.as_ptr().expose_provenance()));
        stack.push(0);
        stack.extend(env.iter().map(|s| s.as_ptr().expose_provenance()));
        stack.push(0);
        stack.extend(auxiliary.as_flattened());
        stack.extend([AT_NULL, 0]);
        // SAFETY: the vector above is laid out as `Process` documents, and is leaked.
        unsafe { Process::from_stack(stack.leak().as_ptr()) }
    }

    #[test]
    fn reads_every_part_of_the_stack() {
        let path = c"/tmp/my app.psp";
        let process = process(
            &[c"app", c"", c"b c"],
            &[c"HOME=/root", c"no equals sign"],
            &[[6, 4096], [AT_SECURE, 0], [AT_EXECFN, path.as_ptr().expose_provenance()]],
        );
        assert_eq!(process.args().collect::<Vec<_>>(), [c"app", c"", c"b c"]);
        assert_eq!(process.env().collect::<Vec<_>>(), [c"HOME=/root", c"no equals sign"]);
        assert_eq!(process.execfn(), Some(path));
        assert!(!process.secure());
    }

    #[test]
    fn a_process_may_have_neither_arguments_nor_environment() {
        let process = process(&[], &[], &[[AT_SECURE, 1]]);
        assert_eq!(process.args().count(), 0);
        assert_eq!(process.env().count(), 0);
        assert_eq!(process.execfn(), None);
        assert!(process.secure());
    }

    #[test]
    fn a_kernel_that_does_not_say_counts_as_secure() {
        assert!(process(&[c"app"], &[], &[]).secure());
    }
}
